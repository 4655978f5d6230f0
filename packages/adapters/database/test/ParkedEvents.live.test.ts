import { assert, layer } from "@effect/vitest"
import { EventId } from "@holdfast/contracts/Ids"
import { label, sequence, streamOf } from "@holdfast/testkit/Envelopes"
import { commitPositioned } from "@holdfast/testkit/EventRows"
import { Duration, Effect, Option } from "effect"
import { ParkedEvents, Parking } from "../src/ParkedEvents.ts"
import { coreForTests } from "./CoreForTests.ts"

const events = sequence("aaabb")
const [a1, a2, a3, b1, b2] = events
const later = sequence("c", 100)[0]

/** Each test has a group of its own. */
const parkA = (group: string) =>
  Effect.gen(function* () {
    assert.isDefined(a1)
    assert.isDefined(a2)
    const parking = yield* Parking
    yield* commitPositioned(events)
    yield* parking.park(group, a1, "no sense", 3)
    assert.isTrue(yield* parking.parkBehind(group, a2))
    return { parking, parked: yield* ParkedEvents, a1, a2 }
  })

layer(coreForTests, { excludeTestServices: true, timeout: Duration.seconds(30) })("ParkedEvents", (it) => {
  it.effect("blocks a stream with its first parked event, and that stream alone", () =>
    Effect.gen(function* () {
      const { parked, parking } = yield* parkA("blocks")
      assert.isDefined(b1)
      assert.deepStrictEqual([...(yield* parking.blockedStreams("blocks"))], [streamOf("a")])
      assert.isFalse(yield* parking.parkBehind("blocks", b1))
      const list = yield* parked.list({ group: "blocks" })
      assert.deepStrictEqual(
        list.map(({ attempts, position, reason }) => [Number(position), attempts, reason]),
        [
          [1, 3, "no sense"],
          [2, 0, "waits behind an earlier event of its stream"]
        ]
      )
    })
  )

  it.effect("keeps the first reason when an event is parked again", () =>
    Effect.gen(function* () {
      const { a1, parked, parking } = yield* parkA("again")
      yield* parking.park("again", a1, "another reason", 9)
      assert.deepStrictEqual((yield* parked.list({ group: "again" })).map(({ reason }) => reason)[0], "no sense")
    })
  )

  it.effect("shows a parked event with its envelope, for each group that parked it", () =>
    Effect.gen(function* () {
      const { a1, parked } = yield* parkA("shows")
      const shown = (yield* parked.show(a1.eventId)).filter((one) => one.parked.group === "shows")
      assert.deepStrictEqual(
        shown.map(({ envelope }) => envelope),
        [a1]
      )
      assert.deepStrictEqual(yield* parked.show(EventId.make(later?.eventId ?? "")), [])
    })
  )

  it.effect("replays in order, one at a time, and unblocks the stream after the last, newer events included", () =>
    Effect.gen(function* () {
      const group = "replays"
      const { parked, parking } = yield* parkA(group)
      assert.isDefined(a3)
      assert.isTrue(Option.isNone(yield* parking.claimReplay(group)))
      assert.strictEqual(yield* parked.replay(group, streamOf("a")), 2)
      assert.isTrue(yield* parking.parkBehind(group, a3))
      const replayed: Array<string> = []
      for (
        let claimed = yield* parking.claimReplay(group);
        Option.isSome(claimed);
        claimed = yield* parking.claimReplay(group)
      ) {
        assert.isTrue(Option.isNone(yield* parking.claimReplay(group)), "somebody else replays beside")
        replayed.push(label(claimed.value))
        yield* parking.resolve(group, claimed.value)
      }
      assert.deepStrictEqual(replayed, ["a1", "a2", "a3"])
      assert.strictEqual((yield* parking.blockedStreams(group)).size, 0)
      assert.isFalse(yield* parking.parkBehind(group, a3))
    })
  )

  it.effect("keeps everything parked when a replay fails again, with the new reason", () =>
    Effect.gen(function* () {
      const group = "fails"
      const { a1, parked, parking } = yield* parkA(group)
      yield* parked.replay(group, streamOf("a"))
      yield* parking.claimReplay(group)
      yield* parking.giveBack(group, a1, "still no sense")
      const list = yield* parked.list({ group })
      assert.deepStrictEqual(
        list.map(({ reason, replaying }) => [reason, replaying]),
        [
          ["still no sense", false],
          ["waits behind an earlier event of its stream", false]
        ]
      )
      assert.isTrue(Option.isNone(yield* parking.claimReplay(group)))
    })
  )

  it.effect("drops one event; the rest of its stream stays parked, and nothing is left after the last", () =>
    Effect.gen(function* () {
      const group = "drops"
      const { a1, a2, parked, parking } = yield* parkA(group)
      assert.isTrue(yield* parked.drop(group, a1.eventId))
      assert.isFalse(yield* parked.drop(group, a1.eventId))
      assert.deepStrictEqual([...(yield* parking.blockedStreams(group))], [streamOf("a")])
      assert.isTrue(yield* parked.drop(group, a2.eventId))
      assert.strictEqual((yield* parking.blockedStreams(group)).size, 0)
      assert.isDefined(b2)
    })
  )
})
