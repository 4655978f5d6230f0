// What RabbitMQ has lost (its data, a virtual host, a queue that somebody deleted) is published again from the event log: everything after
// the lowest position that all groups have handled, in order. Groups that had handled some of it leave it out, as any other repetition.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import type { EventLog } from "@holdfast/database/EventLog"
import { Broker as Limits, Relay } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Array, Clock, DateTime, Duration, Effect } from "effect"
import { handledByAll } from "./Handled.ts"

/** Nothing else is published until it has ended; broken off, it is begun again. */
export type Refill = (
  publish: (envelopes: Array.NonEmptyReadonlyArray<Envelope>) => Effect.Effect<void, Unavailable>
) => Effect.Effect<void, Unavailable>

export const makeRefill = (log: EventLog["Service"], cursors: ConsumerCursors["Service"]): Refill =>
  Effect.fn("Broker.refill")(function* (publish) {
    const from = yield* handledByAll(cursors)
    const upTo = yield* log.published
    const oldestMs = (yield* Clock.currentTimeMillis) - Duration.toMillis(Limits.refillAgeMax)
    let position = from
    let count = 0
    while (position < upTo) {
      const page = yield* log.readAfter(position, Relay.batchEventsMax)
      const due = page.filter((one) => one.position <= upTo && DateTime.toEpochMillis(one.occurredAt) >= oldestMs)
      if (Array.isReadonlyArrayNonEmpty(due)) yield* publish(due)
      count += due.length
      position = page.at(-1)?.position ?? upTo
    }
    if (count > 0)
      yield* Effect.logWarning("RabbitMQ's queues began empty and are filled from the log", { from, count })
  })
