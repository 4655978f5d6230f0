// The broker without a server of its own: the event log in PostgreSQL is what is published, and each group reads it by a cursor. One
// process at a time holds a group, by a leader's lock; when it goes, the next one goes on from the cursor. The cursor moves over
// acknowledged events without a gap, so what was not acknowledged comes again.
import { Position } from "@holdfast/contracts/Ids"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { EventLog } from "@holdfast/database/EventLog"
import { Consumer as ConsumerLimits, Broker as Limits, Relay } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { type Cause, Effect, Layer, Option, Queue, Stream } from "effect"
import { atPresent, Broker, type Change, type ConsumerGroup, type Delivery } from "./Broker.ts"
import { type Flight, makeFlight } from "./Flight.ts"

type Log = EventLog["Service"]
type Cursors = ConsumerCursors["Service"]

export const layer = Layer.effect(
  Broker,
  Effect.gen(function* () {
    const log = yield* EventLog
    const cursors = yield* ConsumerCursors
    return Broker.of({
      // It is in the log, with its position: that is all there is to it.
      publish: () => Effect.void,
      consume: (group) => consume(log, cursors, group),
      changes: (after) => changes(log, after)
    })
  })
)

const consume = (log: Log, cursors: Cursors, group: ConsumerGroup): Stream.Stream<Delivery, Unavailable> =>
  Stream.callback<Delivery, Unavailable>(
    (deliveries) => log.lead(`consumer ${group}`, deliverFrom(log, cursors, group, deliveries)),
    { bufferSize: ConsumerLimits.prefetchEventsMax }
  )

type Deliveries = Queue.Queue<Delivery, Unavailable | Cause.Done>

/** While this process holds the group. */
const deliverFrom = (log: Log, cursors: Cursors, group: ConsumerGroup, deliveries: Deliveries) =>
  Effect.gen(function* () {
    const flight = makeFlight(yield* cursors.read(group))
    const settled = yield* Queue.sliding<void>(1)
    const woken = yield* wakeupsOf(log)
    const flush = Effect.suspend(() => cursors.advance(group, flight.cursor()))
    // Not for every acknowledgement: what a crash forgets comes again.
    const keepCursor = Effect.forever(
      Effect.andThen(Queue.take(settled), Effect.andThen(flush, Effect.sleep(ConsumerLimits.cursorDelay)))
    )
    const signals = {
      settled: () => void Queue.offerUnsafe(settled, undefined),
      deliverable: () => void Queue.offerUnsafe(woken, undefined)
    }
    const deliver = Effect.forever(
      Effect.gen(function* () {
        const handed = yield* handOut(log, flight, deliveries, signals)
        if (handed === 0) yield* Queue.take(woken)
      })
    )
    return yield* Effect.raceFirst(deliver, keepCursor).pipe(Effect.ensuring(Effect.ignore(flush)))
  }).pipe(Effect.scoped)

interface Signals {
  readonly settled: () => void
  readonly deliverable: () => void
}

/** What the log holds next; how many were handed out. */
const handOut = Effect.fnUntraced(function* (log: Log, flight: Flight, deliveries: Deliveries, signals: Signals) {
  const room = flight.room()
  const next = room > 0 ? yield* log.readAfter(flight.last(), Math.min(room, Relay.batchEventsMax)) : []
  for (const envelope of next) {
    flight.handOut(envelope)
    yield* Queue.offer(deliveries, {
      envelope,
      partition: 0,
      ack: Effect.sync(() => {
        if (flight.acknowledge(envelope.position)) signals.deliverable()
        signals.settled()
      })
    })
  }
  return next.length
})

/** A signal for each time that the log may have more; several are one. */
const wakeupsOf = Effect.fnUntraced(function* (log: Log) {
  const woken = yield* Queue.sliding<void>(1)
  yield* log.wakeups.pipe(
    Stream.runForEach(() => Queue.offer(woken, undefined)),
    // Never fails; should that change, readers would only notice by being late.
    Effect.catchCause((cause) => Effect.logError("wakeups of the event log ended", cause)),
    Effect.forkScoped
  )
  return woken
})

const changes = (log: Log, after: Option.Option<Position>): Stream.Stream<Change, Unavailable> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const woken = yield* wakeupsOf(log)
      let last = Option.isSome(after) ? after.value : yield* windowStart(log)
      let isAhead = true
      const next: Effect.Effect<ReadonlyArray<Change>, Unavailable> = Effect.gen(function* () {
        const read = yield* log.readAfter(last, Relay.batchEventsMax)
        last = read[read.length - 1]?.position ?? last
        if (read.length > 0) return read
        if (!isAhead) yield* Queue.take(woken)
        // The log has no more: that is the present.
        const isFirst = isAhead
        isAhead = false
        return isFirst ? [atPresent] : []
      })
      return Stream.flattenIterable(Stream.fromEffectRepeat(next))
    })
  )

const windowStart = (log: Log) =>
  Effect.map(log.lastPosition, (last) => Position.make(Math.max(0, last - Limits.changesWindowEventsMax)))
