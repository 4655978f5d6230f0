// The shares of clients: how many transfers at once, and how fast.
import { describe, expect, it } from "@effect/vitest"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { layer, Transfers } from "../src/Transfers.ts"

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
      // 2 100 bytes at 1 000 a second, less the tenth of a second that may come at once.
      expect(yield* Fiber.join(alone)).toBe(2_000)
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
})
