// The shares of clients: how many transfers at once, and how fast.
import { describe, expect, it } from "@effect/vitest"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { layer, limitsDefault, limitsWith, Transfers } from "../src/Transfers.ts"

const [ada, bob] = [PrincipalId.make("ada"), PrincipalId.make("bob")]
const limits = { underWayMax: 5, perPrincipalMax: 2, bytesPerSecondMax: 1_500, bytesPerSecondPerPrincipalMax: 1_000 }

/** How long, in milliseconds, so many pieces of 100 bytes take. */
const took = (principalId: PrincipalId, pieces: number) =>
  Effect.gen(function* () {
    const transfers = yield* Transfers
    const beganAt = yield* Clock.currentTimeMillis
    yield* transfers.admit(principalId)
    for (let piece = 0; piece < pieces; piece++) yield* transfers.pass(principalId, 100)
    return (yield* Clock.currentTimeMillis) - beganAt
  }).pipe(Effect.scoped)

describe("transfers", () => {
  it.effect("admit each client so many at once, and again when one has ended", () =>
    Effect.gen(function* () {
      const transfers = yield* Transfers
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* transfers.admit(ada)
          yield* transfers.admit(ada)
          yield* transfers.admit(bob)
          expect(yield* Effect.flip(transfers.admit(ada))).toMatchObject({ _tag: "TooManyTransfers" })
        })
      )
      yield* transfers.admit(ada)
    }).pipe(Effect.scoped, Effect.provide(layer(limits)))
  )

  it.effect("admit so many of all clients together, and then nobody until one has ended", () =>
    Effect.gen(function* () {
      const transfers = yield* Transfers
      yield* Effect.scoped(
        Effect.gen(function* () {
          for (const id of ["a", "b", "c", "d", "e"]) yield* transfers.admit(PrincipalId.make(id))
          expect(yield* Effect.flip(transfers.admit(ada))).toMatchObject({ _tag: "TooManyTransfers", whose: "all" })
        })
      )
      yield* transfers.admit(ada)
    }).pipe(Effect.scoped, Effect.provide(layer(limits)))
  )

  it.effect("hold one client to its own share", () =>
    Effect.gen(function* () {
      const alone = yield* Effect.forkChild(took(ada, 21))
      yield* TestClock.adjust("1 minute")
      // 2 100 bytes at 1 000 a second, less the tenth of a second and the one piece that may come at once.
      expect(yield* Fiber.join(alone)).toBe(1_900)
    }).pipe(Effect.provide(layer(limits)))
  )

  it.effect("hold all of them to the total", () =>
    Effect.gen(function* () {
      const both = yield* Effect.forkChild(Effect.all([took(ada, 30), took(bob, 30)], { concurrency: 2 }))
      yield* TestClock.adjust("1 minute")
      // 6 000 bytes at 1 500 a second.
      expect(Math.max(...(yield* Fiber.join(both)))).toBeGreaterThanOrEqual(3_800)
    }).pipe(Effect.provide(layer(limits)))
  )

  it.effect("give a client with many transfers no more than one with a single transfer", () =>
    Effect.gen(function* () {
      const few = yield* Effect.forkChild(took(bob, 20))
      yield* Effect.forkChild(Effect.all([took(ada, 90), took(ada, 90)], { concurrency: 2 }))
      yield* TestClock.adjust("1 minute")
      // Half of 1 500 a second, give or take the turn that a single transfer misses now and then.
      expect(yield* Fiber.join(few)).toBeLessThanOrEqual(4_000)
    }).pipe(Effect.provide(layer(limits)))
  )

  it.effect("ask nothing of others for a transfer that was given up", () =>
    Effect.gen(function* () {
      const transfers = yield* Transfers
      yield* transfers.pass(ada, 1_000)
      const givenUp = yield* Effect.forkChild(transfers.pass(ada, 1_000_000), { startImmediately: true })
      yield* Fiber.interrupt(givenUp)
      const next = yield* Effect.forkChild(took(ada, 1))
      yield* TestClock.adjust("1 minute")
      expect(yield* Fiber.join(next)).toBe(900)
    }).pipe(Effect.provide(layer(limits)))
  )
})

describe("what an operator sets", () => {
  const unset = { all: null, perClient: null, line: null }

  it("stands in for the defaults, and no client has more than all together", () => {
    expect(limitsWith(limitsDefault, unset)).toEqual(limitsDefault)
    const { bytesPerSecondMax, bytesPerSecondPerPrincipalMax } = limitsWith(limitsDefault, { ...unset, all: 1_000 })
    expect([bytesPerSecondMax, bytesPerSecondPerPrincipalMax]).toEqual([1_000, 1_000])
  })

  it("leaves a share of a line to commands, also when more was set", () => {
    const set = limitsWith(limitsDefault, { all: 2_000_000, perClient: 500_000, line: 1_250_000 })
    expect(set).toMatchObject({ bytesPerSecondMax: 1_062_500, bytesPerSecondPerPrincipalMax: 500_000 })
  })

  it.effect("makes the pieces small where a line is slow, so that nobody else waits long for one", () =>
    Effect.gen(function* () {
      expect((yield* Transfers).pieceBytes).toBe(106_250)
    }).pipe(Effect.provide(layer(limitsWith(limitsDefault, { ...unset, line: 1_250_000 }))))
  )
})
