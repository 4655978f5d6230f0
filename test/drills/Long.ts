// A long drill as a program: a desk of its own, the steps, the page. It tells each step as it goes. The first Ctrl-C ends it after the step under
// way, with the comparison and the page; the second at once.
import { Effect } from "effect"
import { Seed } from "../simulation/Seed.ts"
import { type DrillDesk, drillDesk } from "./DrillDesk.ts"
import { endure, faultsOf, type Step } from "./Endurance.ts"
import { writePage } from "./Page.ts"

export interface LongDrill {
  readonly title: string
  readonly what: string
  /** Commands a second. */
  readonly rate: number
  readonly seed: number
  /** Where the page goes; none when absent. */
  readonly report: string | undefined
  readonly steps: (desk: DrillDesk, seed: Seed) => Iterable<Step>
}

export const runLong = async ({ rate, report, seed, steps, title, what }: LongDrill): Promise<void> => {
  const lines: Array<string> = []
  const say = (line: string) => {
    process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`)
    if (/^\d/.test(line)) lines.push(line.replace(/^\d+\t/, ""))
  }
  let signals = 0
  const drill = Effect.gen(function* () {
    say("Starting a desk on real servers ...")
    const desk = yield* drillDesk
    const rates = { commands: rate, queries: 10, uploads: 1, downloads: 2 }
    const isEnough = () => signals > 0
    return yield* endure(desk, { rates, feeds: 7, steps: steps(desk, new Seed(seed)), report: say, isEnough })
  })
  // Somebody who stops it is not left with the desk and its servers.
  const stopped = new AbortController()
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (++signals > 1) stopped.abort()
      else say("This step is the last; stop it again to end at once.")
    })
  }
  const result = await Effect.runPromise(Effect.scoped(drill), { signal: stopped.signal })
  const command = `node ${process.argv
    .slice(1)
    .map((word) => word.replace(`${process.cwd()}/`, ""))
    .join(" ")}`
  const done = signals === 0 ? what : `${what} Stopped by hand after ${result.steps} steps.`
  if (report !== undefined) await writePage(report, { title, what: done, command, steps: lines }, result)
  const faults = faultsOf(result.findings)
  say(
    `${result.told.acknowledged} acknowledged. ${faults.length === 0 ? "Every promise was kept." : faults.join("; ")}`
  )
  process.exitCode = faults.length === 0 ? 0 : 1
}
