// The long form of random faults: `node test/drills/chaos.ts`. Exit code 0 only when every promise was kept and nobody had to help.
import { parseArgs } from "node:util"
import { Duration } from "effect"
import type { Seed } from "../simulation/Seed.ts"
import type { DrillDesk } from "./DrillDesk.ts"
import type { Step } from "./Endurance.ts"
import { runLong } from "./Long.ts"
import { anyHarm, anyTwoHarms } from "./Plans.ts"

const { values } = parseArgs({
  options: {
    single: { type: "string", default: "30" },
    double: { type: "string", default: "10" },
    rate: { type: "string", default: "40" },
    seed: { type: "string", default: "1" },
    report: { type: "string" }
  }
})

/** Until the minutes are over, one after the other. */
function* steps(desk: DrillDesk, seed: Seed): Generator<Step> {
  const timing = () => ({
    lasts: Duration.millis(seed.between(1000, 15_000)),
    acknowledged: 20,
    rest: Duration.millis(seed.between(1000, 8000))
  })
  yield* within(Number(values.single), () => ({ harms: [anyHarm(desk, seed)], ...timing() }))
  yield* within(Number(values.double), () => ({ harms: anyTwoHarms(desk, seed), ...timing() }))
}

function* within(minutes: number, next: () => Step): Generator<Step> {
  const endMs = performance.now() + minutes * 60_000
  while (performance.now() < endMs) yield next()
}

await runLong({
  title: "Random faults",
  what: `${values.single} minutes of one fault at a time and ${values.double} minutes of two at a time (seed ${values.seed}): PostgreSQL, RabbitMQ, Redis and clamd killed or hung (SIGSTOP) for 1 to 15 s, and each of the desk's own processes killed or hung, which its supervisor must notice. Nobody helps the desk.`,
  rate: Number(values.rate),
  seed: Number(values.seed),
  report: values.report,
  steps
})
