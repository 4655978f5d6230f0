// The change feed from RabbitMQ's stream queue: every event once, positions ascending without a gap, from any position that the queue still
// has. A gap is told once; whoever then asks for the whole window gets what lies behind it. Where its end is, the queue is asked before it is
// read: a server that is slow, or that stops in the middle, is silent like one that has told everything.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Position } from "@holdfast/contracts/Ids"
import { deadline } from "@holdfast/resilience/Deadline"
import { Broker as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { type Array, Effect, Option, Queue, Result, Stream } from "effect"
import type { AsyncMessage, Channel } from "rabbitmq-client"
import { AnotherLog, atPresent, type Change } from "./Broker.ts"
import { exchangeExists, type Rabbit } from "./RabbitMqConnection.ts"
import { guardedStream, openConsumer } from "./RabbitMqConsume.ts"
import { attemptNow, promise, unavailable } from "./RabbitMqFailure.ts"
import type { ReadMessage } from "./RabbitMqRead.ts"

/** Where in the stream queue a position is. */
interface Place {
  readonly position: Position
  readonly offset: number
}

/** What this process knows of the stream queue, so that going on need not start at its first event. */
interface Known {
  /** The last one that was read. */
  seen: Place | null
  /** What comes after the last gap. Nothing before it leads anywhere. */
  begins: Place | null
  /** Whose events they are, once some message has said so. */
  log: string | null
}

export const makeChanges = (rabbit: Rabbit) => {
  const places: Known = { seen: null, begins: null, log: null }
  return (after: Option.Option<Position>): Stream.Stream<Change, Unavailable | AnotherLog> =>
    guardedStream(
      rabbit,
      Effect.gen(function* () {
        yield* rabbit.declared
        const known = startOf(places, after)
        // While what was lost is published again, the queue's end is not the newest: then all of it is read. Asked before the end is.
        const isWhole = Option.isSome(after) || (yield* exchangeExists(rabbit.connection, rabbit.topology.lost))
        const end = yield* Effect.scoped(findEnd(rabbit, known))
        const recent = isWhole ? 0 : recentOf(rabbit, end)
        const start = known !== null && known.offset >= recent ? known : null
        const { arrived, channel } = yield* readFrom(rabbit, start?.offset ?? recent)
        const next = makeGapless(rabbit.read, after, places)
        const marked = makeMark(end)
        const take = Effect.tap(Queue.takeAll(arrived), (messages) => acknowledgeAll(channel, messages))
        let first = start
        const read = Effect.suspend(() => {
          const place = first
          first = null
          return place === null ? take : takeAt(rabbit.read, take, place, places)
        })
        const changes = Stream.flattenIterable(
          Stream.fromEffectRepeat(
            Effect.flatMap(read, (messages) =>
              Effect.fromResult(Result.map(next(messages), (fresh) => marked(messages, fresh)))
            )
          )
        )
        return end === null ? Stream.concat(Stream.make(atPresent), changes) : changes
      })
    )
}

const readFrom = Effect.fnUntraced(function* (rabbit: Rabbit, from: number | "last") {
  const arriving = yield* openConsumer<AsyncMessage>(rabbit, Limits.changesPrefetchMax + Limits.changesChunkMax)
  const { channel, offer } = arriving
  yield* promise(() => channel.basicQos({ prefetchCount: Limits.changesPrefetchMax }))
  const place = { "x-stream-offset": from }
  yield* promise(() => channel.basicConsume({ queue: rabbit.topology.changes, arguments: place }, offer))
  return arriving
})

/**
 * An offset in the queue's last chunk, which is as good as its end: what a chunk holds was published in one moment and comes at once. Null where
 * the queue is empty: it gives nothing, and the server answers on the same channel. Its count of messages was found to lag by seconds.
 */
const findEnd = Effect.fnUntraced(function* (rabbit: Rabbit, start: Place | null) {
  const { arrived, channel } = yield* readFrom(rabbit, "last")
  const first = Queue.take(arrived)
  const newest = yield* Effect.timeoutOption(first, Limits.changesEmptyDelay)
  if (Option.isSome(newest)) return offsetOf(newest.value)
  yield* promise(() => channel.queueDeclare({ queue: rabbit.topology.changes, passive: true }))
  const late = yield* Queue.poll(arrived)
  if (Option.isSome(late)) return offsetOf(late.value)
  if (start === null) return null
  return yield* unavailable("refused", "the change feed is empty where it was read before")
})

/** Where the whole window begins. What lies before it no reader keeps, and reading hours of it takes a gateway that starts half a minute. */
const recentOf = ({ options }: Rabbit, end: number | null): number =>
  Math.max(0, (end ?? 0) + 1 - (options.changesWindowEventsMax ?? Limits.changesWindowEventsMax))

/** The mark stands behind the first messages that reach the end; where there is no end, it stood before all of them. */
const makeMark = (end: number | null) => {
  let isAhead = end !== null
  return (messages: Messages, fresh: ReadonlyArray<Envelope>): ReadonlyArray<Change> => {
    const isReached = isAhead && messages.some((message) => (offsetOf(message) ?? -1) >= (end ?? 0))
    if (!isReached) return fresh
    isAhead = false
    return [...fresh, atPresent]
  }
}

const startOf = ({ begins, seen }: Known, after: Option.Option<Position>): Place | null =>
  seen !== null && Option.isSome(after) && seen.position <= after.value ? seen : begins

type Messages = Array.NonEmptyReadonlyArray<AsyncMessage>

/** What is at a place that is known must come at once and be what it was: another stream queue may stand there now, and be shorter. */
const takeAt = (read: ReadMessage, take: Effect.Effect<Messages, Unavailable>, place: Place, known: Known) =>
  take.pipe(
    deadline(Limits.callDeadline),
    Effect.filterOrFail(
      ([message]) => {
        const offset = offsetOf(message)
        if (offset === null || offset < place.offset) return false
        return offset > place.offset || Result.getOrNull(read(message))?.position === place.position
      },
      () => unavailable("refused", "the change feed is not the one that was read before")
    ),
    Effect.catchTag("TimeoutError", () =>
      Effect.fail(unavailable("refused", `the change feed no longer has position ${place.position}`))
    ),
    Effect.tapError(() =>
      Effect.sync(() => {
        known.seen = null
        known.begins = null
      })
    )
  )

const offsetOf = (message: AsyncMessage): number | null => {
  const offset = message.headers?.["x-stream-offset"]
  return typeof offset === "number" ? offset : null
}

const acknowledgeAll = (channel: Channel, messages: Messages) =>
  attemptNow(() => {
    const last = messages[messages.length - 1]
    if (last !== undefined) channel.basicAck({ deliveryTag: last.deliveryTag, multiple: true })
  })

/** Leaves out what came before and fails at a gap, or where another log begins; whoever then asks for the whole window gets what lies behind it. */
const makeGapless = (readMessage: ReadMessage, after: Option.Option<Position>, known: Known) => {
  let last = Option.getOrNull(after)
  return (messages: Messages): Result.Result<ReadonlyArray<Envelope>, Unavailable | AnotherLog> => {
    const fresh: globalThis.Array<Envelope> = []
    for (const message of messages) {
      const read = readMessage(message)
      if (Result.isFailure(read)) return Result.fail(read.failure)
      const { position } = read.success
      const offset = offsetOf(message)
      const place = offset === null ? null : { position, offset }
      const log = message.appId ?? known.log
      if (known.log !== null && log !== known.log) {
        Object.assign(known, { seen: null, begins: place, log })
        return Result.fail(new AnotherLog({ message: `the change feed goes on at ${position} with another event log` }))
      }
      known.log = log
      if (last !== null && position <= last) continue
      if (last !== null && position > last + 1) {
        known.seen = null
        known.begins = place
        return Result.fail(unavailable("refused", `the change feed goes on at ${position}, not after ${last}`))
      }
      last = position
      fresh.push(read.success)
      if (place !== null) known.seen = place
    }
    return Result.succeed(fresh)
  }
}
