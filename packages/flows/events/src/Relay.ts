// The relay: gives committed events their positions and publishes them with confirms, in order, at least once. One leader at a time.
// Positions go on being given while the broker is away; publishing then catches up one confirmed batch after the other, which is the
// pace that the broker itself allows. A crash between a publish and the cursor's move publishes again: duplicates only.
import { Broker } from "@holdfast/broker/Broker"
import { EventLog } from "@holdfast/database/EventLog"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Relay as Limits } from "@holdfast/resilience/Limits"
import { Array, Effect, Metric, Queue } from "effect"

/** Runs for ever. */
export const runRelay: Effect.Effect<never, never, EventLog | Broker> = Effect.suspend(() =>
  keepRunning(
    "relay",
    EventLog.use((log) => log.lead("relay", leadOnce))
  )
)

/** While this process leads. Either half goes on when the other has trouble. */
const leadOnce = Effect.gen(function* () {
  const given = yield* Queue.sliding<void>(1)
  const assigning = Effect.flatMap(assignOnce, (count) =>
    count > 0 ? Queue.offer(given, undefined) : Effect.sleep(Limits.idleDelay)
  )
  // Told as soon as there is something, and looking by itself now and then: what an earlier leader left is told by nobody.
  const publishing = Effect.flatMap(publishOnce, (count) =>
    count > 0
      ? Effect.void
      : Effect.timeoutOrElse(Queue.take(given), { duration: Limits.lookDelay, orElse: () => Effect.void })
  )
  return yield* Effect.raceFirst(
    keepRunning("relay, giving positions", Effect.forever(assigning)),
    keepRunning("relay, publishing", Effect.forever(publishing))
  )
})

const logPosition = Metric.gauge("holdfast_log_position", { description: "Last position given" })
const publishedPosition = Metric.gauge("holdfast_relay_published_position", { description: "Last position confirmed" })

/** How many events were given a position. */
export const assignOnce = Effect.gen(function* () {
  const log = yield* EventLog
  const assigned = yield* log.assignPositions(Limits.batchEventsMax)
  if (assigned > 0) yield* Metric.update(logPosition, yield* log.lastPosition)
  return assigned
})

/** How many events were published and confirmed. */
export const publishOnce = Effect.gen(function* () {
  const log = yield* EventLog
  const broker = yield* Broker
  const envelopes = yield* log.readAfter(yield* log.published, Limits.batchEventsMax)
  if (!Array.isReadonlyArrayNonEmpty(envelopes)) return 0
  yield* broker.publish(envelopes)
  const { position } = Array.lastNonEmpty(envelopes)
  yield* log.markPublished(position)
  yield* Metric.update(publishedPosition, position)
  return envelopes.length
})
