// The short form of the long drills: one desk on real servers, a handful of kills and hangs one and two at a time, and the whole audit.
import { it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { expect } from "vitest"
import { Seed } from "../simulation/Seed.ts"
import { type DrillDesk, drillDesk } from "./DrillDesk.ts"
import { endure, faultsOf, type Step } from "./Endurance.ts"
import { hangServer, killProcesses, killServer } from "./Harms.ts"
import { anyTwoHarms, deskProcesses } from "./Plans.ts"

const stepsOf = (desk: DrillDesk): ReadonlyArray<Step> =>
  [
    [killProcesses(desk, deskProcesses)],
    [killServer(desk, "postgres")],
    [killServer(desk, "rabbitmq")],
    [hangServer(desk, "postgres"), killServer(desk, "redis")],
    [...anyTwoHarms(desk, new Seed(1))]
  ].map((harms) => ({ harms, lasts: Duration.seconds(2), acknowledged: 50, rest: Duration.zero }))

it.live(
  "a desk that is killed and hung again and again loses nothing that it acknowledged and does nothing twice",
  () =>
    Effect.gen(function* () {
      const desk = yield* drillDesk
      const steps = stepsOf(desk)
      const rates = { commands: 20, queries: 5, uploads: 1, downloads: 1 }
      const result = yield* endure(desk, { rates, feeds: 4, steps, report: () => undefined })
      expect(faultsOf(result.findings)).toEqual([])
      expect(result.findings.commands.acknowledged).toBeGreaterThanOrEqual(steps.length * 50)
      expect(result.findings.uploads.accepted).toBeGreaterThan(0)
      expect(result.findings.feeds.every(({ received }) => received > 0)).toBe(true)
    }).pipe(Effect.scoped),
  300_000
)
