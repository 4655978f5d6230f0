import { assert, describe, it } from "@effect/vitest"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Consumer as Limits, Parking as ParkingLimits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { label, sequence, streamOf } from "@holdfast/testkit/Envelopes"
import { Deferred, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Poison, runConsumer } from "../src/Consumer.ts"
import { away, makeBrokerDouble, makeParkingDouble } from "./ConsumerDoubles.ts"

type Handle = (one: string, envelope: Envelope) => Effect.Effect<void, Unavailable | Poison>

/** A running consumer that notes what it has handled. */
const start = (handle: Handle = () => Effect.void, wants: (one: string) => boolean = () => true) =>
  Effect.gen(function* () {
    const broker = makeBrokerDouble()
    const parking = makeParkingDouble()
    const handled: Array<string> = []
    const consumer = {
      group: "automation" as const,
      wants: (envelope: Envelope) => wants(label(envelope)),
      handle: (envelope: Envelope) =>
        Effect.tap(handle(label(envelope), envelope), () => Effect.sync(() => handled.push(label(envelope))))
    }
    yield* runConsumer(consumer).pipe(Effect.provide(Layer.merge(broker.layer, parking.layer)), Effect.forkScoped)
    yield* settle
    return { broker, parking, handled }
  })

/** Lets everything run that can run now, then lets the shortest pauses pass. */
const settle = TestClock.adjust("10 millis")
const wait = TestClock.adjust(Limits.backoffMax).pipe(Effect.repeat({ times: 2 * Limits.attemptsMax }))

describe("runConsumer", () => {
  it.effect("hands over the events of a stream in order and acknowledges each", () =>
    Effect.gen(function* () {
      const { broker, handled } = yield* start()
      broker.publish(sequence("aaa"))
      yield* settle
      assert.deepStrictEqual(handled, ["a1", "a2", "a3"])
      assert.deepStrictEqual(broker.acknowledged.map(Number), [1, 2, 3])
    })
  )

  it.effect("never begins an event before the one before it in its stream is done, while other streams go on", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { broker, handled } = yield* start((one) => (one === "a1" ? Deferred.await(gate) : Effect.void))
      broker.publish(sequence("aabb"))
      yield* settle
      assert.deepStrictEqual(handled, ["b1", "b2"])
      yield* Deferred.succeed(gate, undefined)
      yield* settle
      assert.deepStrictEqual(handled, ["b1", "b2", "a1", "a2"])
    })
  )

  it.effect("acknowledges what means nothing to the consumer at once, whatever is under way on its stream", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { broker, handled } = yield* start(
        () => Deferred.await(gate),
        (one) => one !== "a2"
      )
      broker.publish(sequence("aaa"))
      yield* settle
      assert.deepStrictEqual(broker.acknowledged.map(Number), [2])
      yield* Deferred.succeed(gate, undefined)
      yield* settle
      assert.deepStrictEqual(handled, ["a1", "a3"])
      assert.deepStrictEqual(broker.acknowledged.map(Number), [2, 1, 3])
    })
  )

  it.effect("parks nothing that means nothing to the consumer", () =>
    Effect.gen(function* () {
      const { broker, parking } = yield* start(
        () => Effect.fail(new Poison({ detail: "no" })),
        (one) => one === "a1"
      )
      broker.publish(sequence("aab"))
      yield* settle
      assert.deepStrictEqual(
        parking.parked().map(({ envelope }) => label(envelope)),
        ["a1"]
      )
      assert.deepStrictEqual(broker.acknowledged.map(Number).toSorted(), [1, 2, 3])
    })
  )

  it.effect("holds an event for as long as what it needs is away, without giving it up", () =>
    Effect.gen(function* () {
      let isAway = true
      const { broker, handled, parking } = yield* start(() => (isAway ? Effect.fail(away("database")) : Effect.void))
      broker.publish(sequence("aa"))
      yield* wait
      assert.deepStrictEqual([handled, broker.acknowledged, parking.parked()], [[], [], []])
      isAway = false
      yield* wait
      assert.deepStrictEqual(handled, ["a1", "a2"])
    })
  )

  it.effect("asks again soon, however long it lasted, when it was our own guard that refused", () =>
    Effect.gen(function* () {
      let isAway = true
      const refusal = away("database", "breaker_open")
      const { broker, handled } = yield* start(() => (isAway ? Effect.fail(refusal) : Effect.void))
      broker.publish(sequence("a"))
      yield* wait
      isAway = false
      yield* TestClock.adjust(Limits.unsentBackoffMax)
      assert.deepStrictEqual([handled, broker.acknowledged.length], [["a1"], 1])
    })
  )

  it.effect("parks a poison event at once, with the later ones of its stream and no other", () =>
    Effect.gen(function* () {
      const { broker, handled, parking } = yield* start((one) =>
        one === "a1" ? Effect.fail(new Poison({ detail: "no sense" })) : Effect.void
      )
      broker.publish(sequence("abab"))
      yield* settle
      assert.deepStrictEqual(handled, ["b1", "b2"])
      assert.deepStrictEqual(
        parking.parked().map((one) => [label(one.envelope), one.reason, one.attempts]),
        [
          ["a1", "no sense", 1],
          ["a2", "behind", 0]
        ]
      )
      assert.strictEqual(broker.acknowledged.length, 4)
    })
  )

  it.effect("gives up an event that dies on every attempt, and only then", () =>
    Effect.gen(function* () {
      let attempts = 0
      const { broker, parking } = yield* start(() =>
        Effect.suspend(() => {
          attempts++
          return Effect.die("a bug")
        })
      )
      broker.publish(sequence("a"))
      yield* wait
      assert.strictEqual(attempts, Limits.attemptsMax)
      assert.strictEqual(parking.parked()[0]?.attempts, Limits.attemptsMax)
    })
  )

  it.effect("cuts an attempt at its deadline and tries again", () =>
    Effect.gen(function* () {
      let attempts = 0
      const { broker, handled } = yield* start(() =>
        Effect.suspend(() => (attempts++ === 0 ? Effect.never : Effect.void))
      )
      broker.publish(sequence("a"))
      yield* settle
      yield* TestClock.adjust(Limits.handleDeadline)
      yield* wait
      assert.deepStrictEqual(handled, ["a1"])
    })
  )

  it.effect("is started again when its deliveries break off, and gets what it had not acknowledged", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      let interrupted = 0
      const { broker, handled } = yield* start((one) =>
        one === "a1" && interrupted === 0
          ? Effect.onInterrupt(Deferred.await(gate), () => Effect.sync(() => interrupted++))
          : Effect.void
      )
      broker.publish(sequence("aa"))
      yield* settle
      broker.breakOff()
      yield* wait
      assert.strictEqual(interrupted, 1)
      assert.deepStrictEqual(handled, ["a1", "a2"])
      assert.isAtLeast(broker.consumed(), 2)
    })
  )

  it.effect("replays a parked stream in order and before its newer events, then unblocks it", () =>
    Effect.gen(function* () {
      let poisonous = true
      const { broker, handled, parking } = yield* start((one) =>
        one === "a1" && poisonous ? Effect.fail(new Poison({ detail: "not yet" })) : Effect.void
      )
      const [a1, a2, a3, a4] = sequence("aaaa")
      assert.isDefined(a1)
      assert.isDefined(a2)
      assert.isDefined(a3)
      assert.isDefined(a4)
      broker.publish([a1, a2])
      yield* settle
      poisonous = false
      parking.replay(streamOf("a"))
      broker.publish([a3])
      yield* TestClock.adjust(ParkingLimits.replayDelay)
      yield* settle
      broker.publish([a4])
      yield* settle
      assert.deepStrictEqual(handled, ["a1", "a2", "a3", "a4"])
      assert.deepStrictEqual(parking.parked(), [])
    })
  )

  it.effect("keeps a stream parked whose replay fails again", () =>
    Effect.gen(function* () {
      const { broker, handled, parking } = yield* start(() => Effect.fail(new Poison({ detail: "still" })))
      broker.publish(sequence("aa"))
      yield* settle
      parking.replay(streamOf("a"))
      yield* TestClock.adjust(ParkingLimits.replayDelay)
      yield* settle
      assert.deepStrictEqual(handled, [])
      assert.strictEqual(parking.parked().length, 2)
    })
  )
})
