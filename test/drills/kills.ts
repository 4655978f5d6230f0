// The long form of the kill drill: `node test/drills/kills.ts`. Exit code 0 only when every promise was kept.
import { parseArgs } from "node:util"
import { Duration } from "effect"
import { runLong } from "./Long.ts"
import { killCycles } from "./Plans.ts"

const { values } = parseArgs({
  options: {
    cycles: { type: "string", default: "200" },
    acknowledged: { type: "string", default: "1000000" },
    rate: { type: "string", default: "500" },
    seed: { type: "string", default: "1" },
    report: { type: "string" }
  }
})

const cycles = Number(values.cycles)
const perCycle = Math.ceil(Number(values.acknowledged) / cycles)

await runLong({
  title: "Killed again and again",
  what: `Kill -9 in ${cycles} cycles (seed ${values.seed}): half of them the desk's own processes in changing combinations, a quarter PostgreSQL, a quarter RabbitMQ. ${values.rate} commands a second are offered beside queries, subscriptions, uploads and downloads; the next kill comes when everything runs again and ${perCycle} more commands were acknowledged.`,
  rate: Number(values.rate),
  seed: Number(values.seed),
  report: values.report,
  steps: (desk, seed) =>
    killCycles(desk, seed, cycles).map((harm) => ({
      harms: [harm],
      lasts: Duration.millis(seed.between(0, 2000)),
      acknowledged: perCycle,
      rest: Duration.zero
    }))
})
