// The broker on RabbitMQ: one connection per process that heals by itself, and one more to publish on. The queues are copies: what RabbitMQ
// loses is published again from the event log, from the lowest position that some group has not handled (`layerOnLog`).
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { EventLog } from "@holdfast/database/EventLog"
import { Effect, Layer } from "effect"
import { Broker } from "./Broker.ts"
import { makeHandled } from "./Handled.ts"
import type { OnLog } from "./OnLog.ts"
import { makeChanges } from "./RabbitMqChanges.ts"
import { connect, type RabbitMqOptions } from "./RabbitMqConnection.ts"
import { consume } from "./RabbitMqConsume.ts"
import { makePublish } from "./RabbitMqPublish.ts"
import { makeRefill } from "./Refill.ts"

export type { RabbitMqOptions } from "./RabbitMqConnection.ts"

/** For who reads the change feed. */
export const layer = (options: RabbitMqOptions) => Layer.effect(Broker, make(options, null))

/** For who consumes or publishes: notes how far each group has come, and fills from the log what RabbitMQ has lost. */
export const layerOnLog = (options: RabbitMqOptions) =>
  Layer.effect(
    Broker,
    Effect.gen(function* () {
      const cursors = yield* ConsumerCursors
      const log = yield* EventLog
      const refill = makeRefill(log, cursors)
      return yield* make(options, { identity: log.identity, refill, handled: (group) => makeHandled(cursors, group) })
    })
  )

const make = Effect.fnUntraced(function* (options: RabbitMqOptions, onLog: OnLog | null) {
  const rabbit = yield* connect(options)
  const publish = yield* makePublish(rabbit, onLog)
  return Broker.of({
    publish,
    consume: (group) => consume(rabbit, group, onLog),
    changes: makeChanges(rabbit)
  })
})
