import { assert, describe, it } from "@effect/vitest"
import { Broker } from "@holdfast/broker/Broker"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position } from "@holdfast/contracts/Ids"
import { EventLog, LogId } from "@holdfast/database/EventLog"
import { KeepRunning } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { sequence } from "@holdfast/testkit/Envelopes"
import { Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { publishOnce, runRelay } from "../src/Relay.ts"

const away = (dependency: "broker" | "database") =>
  new Unavailable({ dependency, reason: "unreachable", retryAfterMs: 1, detail: "not there" })

/** A log that gives positions in the order of committing, and a broker that notes what it confirmed. */
const makeWorld = () => {
  const committed: Array<Envelope> = []
  const confirmed: Array<number> = []
  const state = { assigned: 0, published: 0, brokerAway: false, markingFails: false }
  const log = EventLog.of({
    identity: Effect.succeed(LogId.make("log")),
    renewIdentity: () => Effect.void,
    assignPositions: (countMax) =>
      Effect.sync(() => {
        const count = Math.min(countMax, committed.length - state.assigned)
        state.assigned += count
        return count
      }),
    published: Effect.sync(() => Position.make(state.published)),
    markPublished: (position) =>
      Effect.suspend(() => {
        if (state.markingFails) return Effect.fail(away("database"))
        state.published = position
        return Effect.void
      }),
    lastPosition: Effect.sync(() => Position.make(state.assigned)),
    hasUnpositioned: Effect.sync(() => state.assigned < committed.length),
    readAfter: (after, countMax) =>
      Effect.sync(() => committed.slice(after, Math.min(state.assigned, after + countMax))),
    readStream: () => Effect.succeed([]),
    readAt: () => Effect.succeed([]),
    wakeups: Stream.never,
    lead: (_role, work) => work
  })
  const broker = Broker.of({
    publish: (envelopes) =>
      Effect.suspend(() => {
        if (state.brokerAway) return Effect.fail(away("broker"))
        confirmed.push(...envelopes.map(({ position }) => position))
        return Effect.void
      }),
    consume: () => Stream.never,
    changes: () => Stream.never
  })
  const layer = Layer.merge(Layer.succeed(EventLog, log), Layer.succeed(Broker, broker))
  return { committed, confirmed, state, layer }
}

const pass = TestClock.adjust(KeepRunning.pauseMax)

describe("Relay", () => {
  it.effect("gives positions and publishes in their order", () =>
    Effect.gen(function* () {
      const { committed, confirmed, layer } = makeWorld()
      yield* Effect.forkScoped(Effect.provide(runRelay, layer))
      committed.push(...sequence("abc"))
      yield* pass
      assert.deepStrictEqual(confirmed, [1, 2, 3])
    })
  )

  it.effect("goes on giving positions while the broker is away, then publishes what gathered", () =>
    Effect.gen(function* () {
      const { committed, confirmed, layer, state } = makeWorld()
      state.brokerAway = true
      yield* Effect.forkScoped(Effect.provide(runRelay, layer))
      committed.push(...sequence("abcde"))
      yield* pass
      assert.deepStrictEqual([state.assigned, confirmed], [5, []])
      state.brokerAway = false
      yield* pass
      assert.deepStrictEqual(confirmed, [1, 2, 3, 4, 5])
    })
  )

  it.effect("publishes again, and loses nothing, when it died before its cursor moved", () =>
    Effect.gen(function* () {
      const { committed, confirmed, layer, state } = makeWorld()
      committed.push(...sequence("ab"))
      state.assigned = 2
      state.markingFails = true
      yield* Effect.ignore(Effect.provide(publishOnce, layer))
      state.markingFails = false
      yield* Effect.provide(publishOnce, layer)
      assert.deepStrictEqual(confirmed, [1, 2, 1, 2])
      assert.strictEqual(state.published, 2)
    })
  )
})
