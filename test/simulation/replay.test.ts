// A failure that prints its seed is worth as much as the replay is exact.
import { expect, it } from "@effect/vitest"
import { withSimulatedGlobals } from "./SimulatedGlobals.ts"
import { simulate } from "./Simulation.ts"

it("the same seed gives the same world, another seed another", { timeout: 120_000 }, async () => {
  await withSimulatedGlobals(async () => {
    for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const [first, second] = [await simulate(seed), await simulate(seed)]
      expect(second.trace).toEqual(first.trace)
      expect([second.traceHash, second.virtualMs]).toEqual([first.traceHash, first.virtualMs])
      expect((await simulate(seed + 100)).traceHash).not.toBe(first.traceHash)
    }
  })
})
