// A consumer of events: order per stream, streams in parallel, a deadline per event, retries with jittered backoff, then parking of
// the event together with the later ones of its stream, so that a poison event stops its own ticket's line and no other. The runner
// never ends: when its deliveries break off, or it dies itself, this is logged, what was under way is interrupted, what was not
// acknowledged comes back, and it starts again.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { StreamId } from "@holdfast/contracts/Ids"
import { Parking } from "@holdfast/database/ParkedEvents"
import { keepRunning, whileAway } from "@holdfast/resilience/KeepRunning"
import { Consumer as Limits, Parking as ParkingLimits } from "@holdfast/resilience/Limits"
import { makeRetryBudget, type RetryBudget } from "@holdfast/resilience/RetryBudget"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Effect, FiberSet, Option, Schema, Semaphore, Stream } from "effect"
import { Broker, type ConsumerGroup, type Delivery } from "./Broker.ts"
import { type ConsumerMetrics, makeConsumerMetrics } from "./ConsumerMetrics.ts"
import { attemptOnce, makeSettle, type Settle } from "./Settle.ts"

/** The event itself cannot be handled, now or later: it is parked at once. */
export class Poison extends Schema.TaggedError<Poison>()("Poison", { detail: Schema.String }) {}

export interface Consumer<R = never> {
  readonly group: ConsumerGroup
  /**
   * Events that mean nothing to it are acknowledged, when they come or at the latest in their turn, without what handling one costs. Absent: it
   * wants every event.
   */
  readonly wants?: (envelope: Envelope) => boolean
  /**
   * Must be idempotent: an event may be handed over again after a crash. `Unavailable` is retried for as long as it lasts (the
   * event is innocent); `Poison` parks at once; a defect or timeout is retried, then parked.
   */
  readonly handle: (envelope: Envelope) => Effect.Effect<void, Unavailable | Poison, R>
}

export const runConsumer = <R>(consumer: Consumer<R>): Effect.Effect<never, never, R | Broker | Parking> => {
  const metrics = makeConsumerMetrics(consumer.group)
  const budget = makeRetryBudget(0)
  const name = `consumer ${consumer.group}`
  return Effect.raceFirst(
    keepRunning(name, Effect.scoped(consumeOnce(consumer, metrics, budget))),
    keepRunning(
      `${name}, replaying`,
      Effect.forever(Effect.andThen(replayAll(consumer), Effect.sleep(ParkingLimits.replayDelay)))
    )
  ).pipe(Effect.annotateLogs({ group: consumer.group }))
}

/** Deliveries that wait their turn, per stream; the first is under way. Never more than the broker's prefetch in all. */
type Lanes = Map<StreamId, Array<Delivery>>

/** Until the deliveries break off. */
const consumeOnce = Effect.fnUntraced(function* <R>(
  consumer: Consumer<R>,
  metrics: ConsumerMetrics,
  budget: RetryBudget
) {
  const broker = yield* Broker
  const lanes: Lanes = new Map()
  const running = yield* FiberSet.make<void, Unavailable>()
  const turns = yield* Semaphore.make(Limits.streamsAtOnceMax)
  const blocked = yield* makeBlocked(consumer.group)
  const settle = makeSettle(consumer, metrics, turns, budget)
  const wants = ({ envelope }: Delivery) => consumer.wants?.(envelope) ?? true
  const process = (one: Delivery) =>
    wants(one) ? settleUnlessBlocked(one, blocked, settle, metrics) : pass(one, metrics)
  const receive = Effect.fnUntraced(function* (delivery: Delivery) {
    if (!wants(delivery)) return yield* pass(delivery, metrics)
    yield* blocked.learn(delivery.partition)
    const { streamId } = delivery.envelope
    const lane = lanes.get(streamId)
    if (lane !== undefined) return void lane.push(delivery)
    lanes.set(streamId, [delivery])
    yield* FiberSet.run(running, runLane(lanes, streamId, process))
  })
  yield* Effect.raceFirst(Stream.runForEach(broker.consume(consumer.group), receive), FiberSet.join(running))
})

const pass = ({ ack, envelope }: Delivery, metrics: ConsumerMetrics) =>
  Effect.andThen(metrics.settled(envelope.position), ack)

const runLane = Effect.fnUntraced(function* <R>(
  lanes: Lanes,
  streamId: StreamId,
  process: (delivery: Delivery) => Effect.Effect<void, Unavailable, R>
) {
  const lane = lanes.get(streamId) ?? []
  for (let next = lane[0]; next !== undefined; next = lane[0]) {
    yield* process(next)
    lane.shift()
  }
  lanes.delete(streamId)
})

const settleUnlessBlocked = Effect.fnUntraced(function* <R>(
  { ack, envelope }: Delivery,
  blocked: Blocked,
  settle: Settle<R>,
  metrics: ConsumerMetrics
) {
  const waits = yield* blocked.parkBehind(envelope)
  if (!waits && (yield* settle(envelope)) === "parked") blocked.add(envelope.streamId)
  yield* metrics.settled(envelope.position)
  yield* ack
})

interface Blocked {
  /** Before the first event of a share: from then on nobody else parks an event of its streams. */
  readonly learn: (partition: number) => Effect.Effect<void>
  readonly add: (streamId: StreamId) => void
  /** True: the event's stream is blocked and the event now waits with the others. */
  readonly parkBehind: (envelope: Envelope) => Effect.Effect<boolean>
}

/** The blocked streams are known here, so that an event of any other costs no question to the database. */
const makeBlocked = Effect.fnUntraced(function* (group: ConsumerGroup) {
  const parking = yield* Parking
  const blocked = new Set<StreamId>()
  const learnt = new Set<number>()
  return {
    learn: Effect.fnUntraced(function* (partition) {
      if (learnt.has(partition)) return
      for (const streamId of yield* whileAway(parking.blockedStreams(group))) blocked.add(streamId)
      learnt.add(partition)
    }),
    add: (streamId) => blocked.add(streamId),
    parkBehind: Effect.fnUntraced(function* (envelope) {
      if (!blocked.has(envelope.streamId)) return false
      const waits = yield* whileAway(parking.parkBehind(group, envelope))
      if (!waits) blocked.delete(envelope.streamId)
      return waits
    })
  } satisfies Blocked
})

/** Every event of every stream that an operator said to replay, in order; any process of the group may do it. */
const replayAll = Effect.fnUntraced(function* <R>(consumer: Consumer<R>) {
  const parking = yield* Parking
  while (true) {
    const claimed = yield* parking.claimReplay(consumer.group)
    if (Option.isNone(claimed)) return
    yield* replayOnce(consumer, claimed.value)
  }
})

const replayOnce = Effect.fnUntraced(function* <R>(consumer: Consumer<R>, envelope: Envelope) {
  const parking = yield* Parking
  const outcome = yield* attemptOnce(consumer, envelope)
  switch (outcome._tag) {
    case "Handled":
      return yield* parking.resolve(consumer.group, envelope)
    case "Away": // The claim runs out by itself, and it is tried again.
      return yield* outcome.error
    case "Failed":
    case "Poison":
      yield* Effect.logError(`replayed event was parked again: ${outcome.detail}`)
      return yield* parking.giveBack(consumer.group, envelope, outcome.detail)
  }
})
