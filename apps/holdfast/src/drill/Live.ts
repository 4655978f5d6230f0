// A drill while it runs: a table that is drawn again each second on a terminal, a line now and then where the output goes to a file, or
// JSON lines for machines.
import { Console, Effect } from "effect"
import { table } from "../Table.ts"
import type { DrillNow } from "./RunDrill.ts"
import { answeredIn, paths, sentIn } from "./Tally.ts"

export type Showing = "terminal" | "lines" | "json" | "nothing"

const lineEverySeconds = 5

export const makeShow = (showing: Showing): ((now: DrillNow) => Effect.Effect<void>) => {
  let drawn = 0
  let turn = 0
  return (now) => {
    switch (showing) {
      case "terminal": {
        const text = liveTable(now)
        const back = drawn === 0 ? "" : `\u001b[${drawn}A\u001b[0J`
        drawn = text.split("\n").length
        return Console.log(`${back}${text}`)
      }
      case "lines":
        return turn++ % lineEverySeconds === 0 ? Console.log(liveLine(now)) : Effect.void
      case "json":
        return Console.log(JSON.stringify(liveJson(now)))
      case "nothing":
        return Effect.void
    }
  }
}

const clock = (seconds: number): string =>
  `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`

const words = { healthy: "healthy", onset: "fault", fault: "fault", recovery: "recovery" } as const

const headline = ({ elapsedSeconds, leftSeconds, outage, phase }: DrillNow): string => {
  const left = leftSeconds === null ? "until all is well" : `${clock(leftSeconds)} left`
  return `${clock(elapsedSeconds)}  ${outage.dependency} ${outage.fault} (${outage.means})  ${words[phase].toUpperCase()}, ${left}`
}

const whole = (ms: number): string => (Number.isNaN(ms) ? "-" : ms < 10 ? ms.toFixed(1) : ms.toFixed(0))

export const liveTable = (now: DrillNow): string => {
  const rows = paths.map((path) => {
    const cell = now.tally.cell(path, now.phase)
    const { cached, failed, live, refused, unknown } = cell.counts
    const why = [...cell.errors].toSorted(([, a], [, b]) => b - a)[0]?.[0] ?? ""
    return [
      ...[path, sentIn(cell), live, cached, refused, unknown, failed].map(String),
      ...[
        whole(cell.answered.percentile(0.5)),
        whole(cell.answered.percentile(0.99)),
        whole(cell.refused.percentile(0.99))
      ],
      why
    ]
  })
  const head = [
    "path",
    "sent",
    "live",
    "cached",
    "refused",
    "unknown",
    "failed",
    "p50 ms",
    "p99 ms",
    "refusal p99",
    "mostly"
  ]
  return [headline(now), table(head, rows), processLine(now)].join("\n")
}

const processLine = ({ memory, processes, unresolved }: DrillNow): string => {
  const latest = new Map(memory.series.map(({ process, samples }) => [process, samples.at(-1)?.bytes ?? 0]))
  const told = processes.map(({ name, phase }) => {
    const mebibytes = `${Math.round((latest.get(name) ?? 0) / 1024 ** 2)} MiB`
    return `${name} ${phase === "ready" ? mebibytes : phase.toUpperCase()}`
  })
  return `${told.join(", ")}${unresolved === 0 ? "" : `; ${unresolved} commands of unknown outcome`}`
}

export const liveLine = (now: DrillNow): string => {
  const told = paths.map((path) => {
    const cell = now.tally.cell(path, now.phase)
    const bad = sentIn(cell) - answeredIn(cell)
    return `${path} ${answeredIn(cell)}${bad === 0 ? "" : ` (${bad} not)`}`
  })
  return `${headline(now)}: ${told.join(", ")}`
}

const liveJson = ({ elapsedSeconds, leftSeconds, outage, phase, processes, tally }: DrillNow) => ({
  ...{ elapsedSeconds: Math.round(elapsedSeconds), leftSeconds, phase, ...outage },
  processes: processes.map((one) => ({ name: one.name, phase: one.phase })),
  paths: Object.fromEntries(
    paths.map((path) => {
      const { answered, counts, refused } = tally.cell(path, phase)
      const ms = (value: number) => (Number.isNaN(value) ? null : Math.round(value * 10) / 10)
      return [
        path,
        {
          ...counts,
          p50Ms: ms(answered.percentile(0.5)),
          p99Ms: ms(answered.percentile(0.99)),
          refusedP99Ms: ms(refused.percentile(0.99))
        }
      ]
    })
  )
})
