// The broker on RabbitMQ: one connection per process that heals by itself, and one more to publish on. The queues are copies: what RabbitMQ
// loses is published again from the event log, from the lowest position that some group has not handled (`layerOnLog`).
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { EventLog } from "@holdfast/database/EventLog"
import { Effect, Layer } from "effect"
import { Broker, type ConsumerGroup } from "./Broker.ts"
import { type Handled, makeHandled } from "./Handled.ts"
import { makeChanges } from "./RabbitMqChanges.ts"
import { connect, type RabbitMqOptions } from "./RabbitMqConnection.ts"
import { consume } from "./RabbitMqConsume.ts"
import { makePublish } from "./RabbitMqPublish.ts"
import { makeRefill, type Refill } from "./Refill.ts"

export type { RabbitMqOptions } from "./RabbitMqConnection.ts"

/** For who reads the change feed. */
export const layer = (options: RabbitMqOptions) => Layer.effect(Broker, make(options, null))

/** For who consumes or publishes: notes how far each group has come, and fills from the log what RabbitMQ has lost. */
export const layerOnLog = (options: RabbitMqOptions) =>
  Layer.effect(
    Broker,
    Effect.gen(function* () {
      const cursors = yield* ConsumerCursors
      const refill = makeRefill(yield* EventLog, cursors)
      return yield* make(options, { refill, handled: (group) => makeHandled(cursors, group) })
    })
  )

interface OnLog {
  readonly refill: Refill
  readonly handled: (group: ConsumerGroup) => Handled
}

const make = Effect.fnUntraced(function* (options: RabbitMqOptions, onLog: OnLog | null) {
  const rabbit = yield* connect(options)
  const publish = yield* makePublish(rabbit, onLog?.refill ?? null)
  return Broker.of({
    publish,
    consume: (group) => consume(rabbit, group, onLog?.handled(group) ?? null),
    changes: makeChanges(rabbit)
  })
})
