// The whole desk in many worlds, each from its own seed. HOLDFAST_SIMULATION_SEEDS says how many; HOLDFAST_SIMULATION_SEED replays one.
import { expect, it } from "@effect/vitest"
import { Coverage } from "./Coverage.ts"
import { describeFailure } from "./Report.ts"
import { withSimulatedGlobals } from "./SimulatedGlobals.ts"
import { simulate } from "./Simulation.ts"

const seedsDefault = 1600
const seedsCount = Number(process.env.HOLDFAST_SIMULATION_SEEDS ?? seedsDefault)
const oneSeed = process.env.HOLDFAST_SIMULATION_SEED
const timeout = 60_000 + seedsCount * 2_000

/** What a run of the default length must have met, or it proves less than it says. */
const mustHappen = [
  "acknowledged",
  "acknowledged as a replay",
  "answered OutcomeUnknown",
  "answered WriteUnavailable",
  "answered TicketAlreadyClaimed",
  "answered VersionConflict",
  "answer lost on the line",
  "batch fell apart",
  "breaker opened",
  "broker batch torn",
  "broker lost answer",
  "cache flushed",
  "database commits overtook",
  "database hung",
  "database lock waited for",
  "database lost answer",
  "database lost request",
  "database refusal",
  "downloaded",
  "handed again",
  "leader taken",
  "outage hung",
  "outage killed",
  "outage refusing",
  "outage silent",
  "process crash",
  "process pause",
  "process stop",
  "query cached",
  "query live",
  "query unavailable",
  "redelivered",
  "request died with its process",
  "resync",
  "slow client closed",
  "subscription resumed",
  "upload refused",
  "uploaded",
  "webhook sent again"
]

/** One half of the worlds, as two processors run two files at a time. */
export const holdsInWorlds = (half: "lower" | "upper") => {
  const halfCount = Math.ceil(seedsCount / 2)
  const first = half === "lower" ? 1 : halfCount + 1
  const seeds =
    oneSeed === undefined ? Array.from({ length: halfCount }, (_, index) => first + index) : [Number(oneSeed)]
  it(`every promise holds in every world of the ${half} half`, { timeout }, async () => {
    const coverage = new Coverage()
    let steps = 0
    await withSimulatedGlobals(async () => {
      for (const seed of seeds) {
        const told = await simulate(seed)
        coverage.addAll(told.coverage)
        steps += told.steps
        if (told.violation !== null) throw new Error(describeFailure(told))
      }
    })
    if (oneSeed !== undefined) return
    expect(steps / seeds.length).toBeGreaterThan(30)
    if (seedsCount < seedsDefault) return
    expect(mustHappen.filter((what) => !coverage.counts.has(what))).toEqual([])
  })
}
