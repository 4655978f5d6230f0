// The simulation is worth what it catches: each of these desks is broken in one place, and must be found out within a few seeds, by the rule that
// is there for it.
import { expect, it } from "@effect/vitest"
import { broken } from "./Mutations.ts"
import { withSimulatedGlobals } from "./SimulatedGlobals.ts"
import { simulate } from "./Simulation.ts"

const seedsMax = 40

for (const { focus, invariant, mutation, name } of broken)
  it(`${name} is found out`, { timeout: 300_000 }, async () => {
    const found = await withSimulatedGlobals(async () => {
      for (let seed = 1; seed <= seedsMax; seed++) {
        const { violation } = await simulate(seed, { mutation, focus })
        if (violation !== null) return violation.message.slice(0, invariant.length)
      }
      return `nothing in ${seedsMax} seeds`
    })
    expect(found).toBe(invariant)
  })
