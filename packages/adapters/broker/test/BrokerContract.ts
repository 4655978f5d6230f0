// What every layer of the broker must keep, as Broker.ts promises it. Each test uses streams of its own and looks away from the
// others', so that all of them share one broker.
import { randomUUID } from "node:crypto"
import { assert, layer as describeLayer } from "@effect/vitest"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position, StreamId } from "@holdfast/contracts/Ids"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { envelopeOf, label } from "@holdfast/testkit/Envelopes"
import { Context, Deferred, Duration, Effect, Fiber, type Layer, Option, Stream } from "effect"
import { atPresent, Broker, type Change, type ConsumerGroup, type Delivery } from "../src/Broker.ts"

/** Brings events to the broker as the relay does: they stand in the log, with positions, before they are published. */
export class Publishing extends Context.Service<
  Publishing,
  {
    /** The place of the next event. */
    readonly nextPosition: Effect.Effect<number>
    publish(envelopes: ReadonlyArray<Envelope>): Effect.Effect<void, Unavailable>
  }
>()("test/Publishing") {}

/** Streams of this test alone, by letter. */
const makeStreams = Effect.gen(function* () {
  const publishing = yield* Publishing
  const streams = new Map<string, { readonly streamId: StreamId; version: number }>()
  const make = Effect.fnUntraced(function* (letters: string) {
    const first = yield* publishing.nextPosition
    return [...letters].map((letter, index) => {
      const stream = streams.get(letter) ?? { streamId: StreamId.make(randomUUID()), version: 0 }
      stream.version++
      streams.set(letter, stream)
      return envelopeOf(stream.streamId, letter, stream.version, first + index)
    })
  })
  const publish = Effect.fnUntraced(function* (letters: string) {
    const envelopes = yield* make(letters)
    yield* publishing.publish(envelopes)
    return envelopes
  })
  const isMine = (envelope: Envelope) => [...streams.values()].some(({ streamId }) => streamId === envelope.streamId)
  /** Others' events are acknowledged and left out. */
  const consume = (group: ConsumerGroup) =>
    Stream.unwrap(Effect.map(Broker, (broker) => broker.consume(group))).pipe(
      Stream.filterEffect((delivery) =>
        isMine(delivery.envelope) ? Effect.succeed(true) : Effect.as(delivery.ack, false)
      )
    )
  const marked = (after: Option.Option<Position>) =>
    Stream.unwrap(Effect.map(Broker, (broker) => broker.changes(after)))
  const changes = (after: Option.Option<Position>) => Stream.filter(marked(after), (change) => change !== atPresent)
  return { publish, consume, changes, marked, isMine }
})

const labels = (all: ReadonlyArray<Delivery | Envelope>) =>
  all.map((one) => label("envelope" in one ? one.envelope : one))

const inOrder = (all: ReadonlyArray<string>, letter: string) => all.filter((one) => one.startsWith(letter))

const takeAcknowledged = (deliveries: Stream.Stream<Delivery, Unavailable, Broker>, count: number) =>
  deliveries.pipe(
    Stream.tap(({ ack }) => ack),
    Stream.take(count),
    Stream.runCollect
  )

export const contract = <E>(name: string, brokerAndPublishing: Layer.Layer<Broker | Publishing, E>) => {
  const options = { excludeTestServices: true, timeout: Duration.seconds(60) }
  describeLayer(brokerAndPublishing, options)(`Broker (${name})`, (it) => {
    it.effect("delivers what it has confirmed, also to a group that begins later", () =>
      Effect.gen(function* () {
        const { consume, publish } = yield* makeStreams
        yield* publish("abc")
        const got = yield* takeAcknowledged(consume("views"), 3)
        assert.deepStrictEqual(labels(got).sort(), ["a1", "b1", "c1"])
      })
    )

    it.effect("keeps the order of each stream", () =>
      Effect.gen(function* () {
        const { consume, publish } = yield* makeStreams
        yield* publish("abcabcabcabcabcabcabcabcabcabc")
        const got = labels(yield* takeAcknowledged(consume("views"), 30))
        for (const letter of "abc") {
          assert.deepStrictEqual(
            inOrder(got, letter),
            Array.from({ length: 10 }, (_, index) => `${letter}${index + 1}`)
          )
        }
      })
    )

    it.effect("hands out again, in order, what a consumer that crashed had not acknowledged, and nothing else", () =>
      Effect.gen(function* () {
        const { consume, publish } = yield* makeStreams
        yield* publish("aaaaaa")
        const first = yield* consume("cache").pipe(
          Stream.tap(({ ack, envelope }) => (envelope.streamVersion <= 2 ? ack : Effect.void)),
          Stream.take(4),
          Stream.runCollect
        )
        const second = yield* takeAcknowledged(consume("cache"), 4)
        assert.deepStrictEqual(labels(first), ["a1", "a2", "a3", "a4"])
        assert.deepStrictEqual(labels(second), ["a3", "a4", "a5", "a6"])
      })
    )

    it.effect("hands every event to each group", () =>
      Effect.gen(function* () {
        const { consume, publish } = yield* makeStreams
        yield* publish("ab")
        const got = yield* Effect.all(
          [takeAcknowledged(consume("files"), 2), takeAcknowledged(consume("webhooks"), 2)],
          {
            concurrency: 2
          }
        )
        assert.deepStrictEqual(
          got.map((one) => labels(one).sort()),
          [
            ["a1", "b1"],
            ["a1", "b1"]
          ]
        )
      })
    )

    it.effect("hands a stream to one consumer of a group at a time, and to the next when that one is gone", () =>
      Effect.gen(function* () {
        const { consume, publish } = yield* makeStreams
        const handled: Array<string> = []
        const sawFirst = yield* Deferred.make<string>()
        const sawAll = yield* Deferred.make<void>()
        const member = (who: string) =>
          consume("analytics").pipe(
            Stream.runForEach(({ ack, envelope }) =>
              Effect.gen(function* () {
                handled.push(`${who} ${label(envelope)}`)
                yield* ack
                yield* Deferred.succeed(sawFirst, who)
                if (envelope.streamVersion === 4) yield* Deferred.succeed(sawAll, undefined)
              })
            ),
            Effect.forkScoped
          )
        const members = { one: yield* member("one"), two: yield* member("two") }
        yield* publish("aa")
        const active = yield* Deferred.await(sawFirst)
        const other = active === "one" ? "two" : "one"
        yield* Fiber.interrupt(active === "one" ? members.one : members.two)
        yield* publish("aa")
        yield* Deferred.await(sawAll)
        const byOther = handled.filter((line) => line.startsWith(other)).map((line) => line.slice(-2))
        assert.deepStrictEqual(byOther.slice(-2), ["a3", "a4"])
        assert.isFalse(handled.some((line) => line === `${active} a3` || line === `${active} a4`))
      })
    )

    it.effect("changes: every event once, without a gap, then live, from any position on", () =>
      Effect.gen(function* () {
        const { changes, isMine, publish } = yield* makeStreams
        const before = yield* publish("ab")
        const live = yield* changes(Option.none()).pipe(
          Stream.filter(isMine),
          Stream.take(4),
          Stream.runCollect,
          Effect.forkScoped
        )
        yield* publish("ab")
        const all = yield* Fiber.join(live)
        assert.deepStrictEqual(labels(all), ["a1", "b1", "a2", "b2"])
        const resumed = yield* changes(Option.fromNullishOr(before[1]?.position)).pipe(
          Stream.take(2),
          Stream.runCollect
        )
        assert.deepStrictEqual(labels(resumed), ["a2", "b2"])
      })
    )

    it.effect(
      "changes says once where the present is: behind everything that was there before, and nothing that was not",
      () =>
        Effect.gen(function* () {
          const { isMine, marked, publish } = yield* makeStreams
          const mark = (change: Change) => (change === atPresent ? "present" : isMine(change) ? label(change) : null)
          const told = (after: Option.Option<Position>) =>
            marked(after).pipe(
              Stream.map(mark),
              Stream.filter((one) => one !== null)
            )
          const before = yield* publish("abab")
          const past = yield* told(Option.none()).pipe(
            Stream.takeUntil((one) => one === "present"),
            Stream.runCollect
          )
          assert.deepStrictEqual(past, ["a1", "b1", "a2", "b2", "present"])
          const reached = yield* Deferred.make<void>()
          const going = yield* told(Option.fromNullishOr(before[2]?.position)).pipe(
            Stream.tap((one) => (one === "present" ? Deferred.succeed(reached, undefined) : Effect.void)),
            Stream.take(4),
            Stream.runCollect,
            Effect.forkScoped
          )
          yield* Deferred.await(reached)
          yield* publish("cc")
          assert.deepStrictEqual(yield* Fiber.join(going), ["b2", "present", "c1", "c2"])
          const none = yield* marked(Option.some(Position.make((before[3]?.position ?? 0) + 2))).pipe(
            Stream.take(1),
            Stream.runCollect
          )
          assert.deepStrictEqual(none, [atPresent])
        })
    )

    it.effect(
      "changes shows once what was published twice; consumers may see it again, never out of order the first time",
      () =>
        Effect.gen(function* () {
          const publishing = yield* Publishing
          const { changes, consume, isMine, publish } = yield* makeStreams
          const before = Position.make((yield* publishing.nextPosition) - 1)
          const batch = yield* publish("abab")
          yield* publishing.publish(batch)
          yield* publish("c")
          const shown = yield* changes(Option.some(before)).pipe(
            Stream.filter(isMine),
            Stream.take(5),
            Stream.runCollect
          )
          assert.deepStrictEqual(labels(shown), ["a1", "b1", "a2", "b2", "c1"])
          const seen = new Set<string>()
          yield* consume("views").pipe(
            Stream.tap(({ ack }) => ack),
            Stream.tap(({ envelope }) => Effect.sync(() => seen.add(label(envelope)))),
            Stream.takeUntil(() => seen.size === 5),
            Stream.runDrain
          )
          assert.deepStrictEqual(inOrder([...seen], "a"), ["a1", "a2"])
          assert.deepStrictEqual(inOrder([...seen], "b"), ["b1", "b2"])
        })
    )
  })
}
