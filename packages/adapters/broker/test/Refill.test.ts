// How far each group has come, and what is published again from there when RabbitMQ has lost it.
import { assert, describe, it } from "@effect/vitest"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position } from "@holdfast/contracts/Ids"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { EventLog } from "@holdfast/database/EventLog"
import { Broker as Limits } from "@holdfast/resilience/Limits"
import { sequence } from "@holdfast/testkit/Envelopes"
import { Context, DateTime, Duration, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { ConsumerGroup } from "../src/Broker.ts"
import { handledByAll, makeHandled } from "../src/Handled.ts"
import { makeRefill } from "../src/Refill.ts"

const cursorsIn = (kept: Map<string, Position>) =>
  ConsumerCursors.of({
    read: (group) => Effect.sync(() => kept.get(group) ?? Position.make(0)),
    advance: (group, position) => Effect.sync(() => void kept.set(group, position))
  })

/** Every group has handled everything up to here. */
const allAt = (position: number): Map<string, Position> =>
  new Map(
    ConsumerGroup.literals.flatMap((group) =>
      Array.from(
        { length: Limits.partitions },
        (_, partition) => [`${group}/${partition}`, Position.make(position)] as const
      )
    )
  )

const logOf = (events: ReadonlyArray<Envelope>, published: number) =>
  Effect.map(
    Layer.build(
      Layer.mock(EventLog)({
        published: Effect.succeed(Position.make(published)),
        readAfter: (after, countMax) =>
          Effect.sync(() => events.filter(({ position }) => position > after).slice(0, countMax))
      })
    ),
    (context) => Context.get(context, EventLog)
  )

const happenedMs = ([first]: ReadonlyArray<Envelope>) =>
  first === undefined ? 0 : DateTime.toEpochMillis(first.occurredAt)

describe("what a group has handled", () => {
  it.effect("is kept up to the first event that it still has", () =>
    Effect.gen(function* () {
      const kept = new Map<string, Position>()
      const handled = makeHandled(cursorsIn(kept), "views")
      const keeping = yield* Effect.forkChild(handled.keep, { startImmediately: true })
      for (const position of [3, 5, 9]) handled.delivered(2, Position.make(position))
      handled.acknowledged(2, Position.make(3))
      handled.acknowledged(2, Position.make(9))
      yield* TestClock.adjust(Limits.handledDelay)
      assert.strictEqual(kept.get("views/2"), 4)
      handled.acknowledged(2, Position.make(5))
      yield* TestClock.adjust(Limits.handledDelay)
      assert.strictEqual(kept.get("views/2"), 9)
      yield* Fiber.interrupt(keeping)
    })
  )

  it.effect("by all is what the slowest has, and a group's own cursor counts for its partitions", () =>
    Effect.gen(function* () {
      const kept = allAt(20).set("webhooks/1", Position.make(7)).set("files/3", Position.make(2))
      assert.strictEqual(yield* handledByAll(cursorsIn(kept)), 2)
      assert.strictEqual(yield* handledByAll(cursorsIn(kept.set("files", Position.make(11)))), 7)
    })
  )
})

describe("a refill", () => {
  it.effect("publishes what somebody has not handled and the relay has published, in order", () =>
    Effect.gen(function* () {
      const events = sequence("abcabcabca")
      yield* TestClock.setTime(happenedMs(events))
      const sent: Array<number> = []
      const refill = makeRefill(yield* logOf(events, 8), cursorsIn(allAt(9).set("cache/0", Position.make(4))))
      yield* refill((batch) => Effect.sync(() => void sent.push(...batch.map(({ position }) => position))))
      assert.deepStrictEqual(sent, [5, 6, 7, 8])
    })
  )

  it.effect("leaves out what is so old that repeating it may not be harmless", () =>
    Effect.gen(function* () {
      const events = sequence("ab")
      yield* TestClock.setTime(happenedMs(events) + Duration.toMillis(Limits.refillAgeMax) + 1)
      const refill = makeRefill(yield* logOf(events, 2), cursorsIn(new Map()))
      yield* refill(() => Effect.die("published"))
    })
  )
})
