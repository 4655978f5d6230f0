// A drill as a document: what was done, what held, what was measured. Pure: the same figures give the same text.
import { budgetMinutes } from "./Budget.ts"
import type { DrillFigures, PathFigures, Stretch, Times } from "./Figures.ts"
import type { MemorySeries } from "./Memory.ts"
import { type Path, paths } from "./Tally.ts"
import type { Judgement } from "./Verdict.ts"

export const reportMarkdown = (figures: DrillFigures, judgements: ReadonlyArray<Judgement>): string =>
  `${sections(figures, judgements).join("\n\n")}\n`

const sections = (figures: DrillFigures, judgements: ReadonlyArray<Judgement>): ReadonlyArray<string> => [
  `# Drill: ${figures.dependency}, ${figures.fault}`,
  opening(figures),
  "## What held",
  markdownTable(
    ["", "", "promise", "measured"],
    judgements.map(({ held, kind, measured, promise }) => [held ? "held" : "**missed**", kind, promise, measured])
  ),
  "A promise is about what happens. A bar is about time or memory on the machine above.",
  "## What each path was answered",
  availabilityTable(figures),
  "## How long it took",
  timesTable(figures),
  "Milliseconds, from when a request was due. Of realtime: from the command until its event was with a subscriber. Of reactions: until what was caused could be seen.",
  refusals(figures),
  "## From the first error to the first success",
  firsts(figures),
  "## What it costs of 99.98 %",
  costList(figures),
  "## Memory",
  memory(figures),
  "## What became of the commands",
  outcomes(figures)
]

const opening = (figures: DrillFigures): string => {
  const { seconds } = figures
  const means =
    figures.means === "signal"
      ? "by a real signal to what the supervisor runs"
      : "by the proxy in front of it, as its clients see it over the network"
  return [
    "```sh",
    figures.commandLine,
    "```",
    "",
    `Started ${figures.startedAt} on ${figures.machine}. Load: ${figures.perSecond} requests a second in all, and ${figures.audit.feeds.length} subscribers.`,
    `The fault was made ${means}. Healthy for ${inSeconds(seconds.healthy)}, fault for ${inSeconds(seconds.outage)}, recovery watched for ${inSeconds(seconds.recovery)}.`
  ].join("\n")
}

const inSeconds = (seconds: number): string => `${seconds.toFixed(0)} s`

export const markdownTable = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const line = (cells: ReadonlyArray<string>) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n")
}

const shown: ReadonlyArray<Stretch> = ["healthy", "outage", "recovery"]

export const percent = ({ availability, sent }: Pick<PathFigures, "availability" | "sent">): string =>
  sent === 0 ? "-" : `${(Math.floor(availability * 100_000) / 1000).toFixed(3)} %`

const availabilityTable = ({ paths: all }: DrillFigures): string =>
  markdownTable(
    ["path", "when", "due", "answered", "live", "cached", "refused", "unknown", "failed", "why not"],
    paths.flatMap((path) =>
      shown.map((stretch) => {
        const one = all[path][stretch]
        const { cached, failed, live, refused, unknown } = one.counts
        return [
          ...[path, stretch, String(one.sent), percent(one)],
          ...[live, cached, refused, unknown, failed].map(String),
          Object.entries(one.errors)
            .toSorted(([, a], [, b]) => b - a)
            .slice(0, 3)
            .map(([error, count]) => `${count} ${error}`)
            .join(", ")
        ]
      })
    )
  )

const timesTable = ({ paths: all }: DrillFigures): string =>
  markdownTable(
    ["path", "when", "p50", "p90", "p99", "slowest"],
    paths.flatMap((path) => shown.map((stretch) => [path, stretch, ...timesCells(all[path][stretch].answered)]))
  )

const timesCells = ({ count, maxMs, p50Ms, p90Ms, p99Ms }: Times): ReadonlyArray<string> =>
  count === 0 ? ["-", "-", "-", "-"] : [p50Ms, p90Ms, p99Ms, maxMs].map((ms) => ms.toFixed(1))

const refusals = ({ paths: all, refusedLater }: DrillFigures): string => {
  const first = all.commands.onset.refused
  if (first.count + refusedLater.count === 0) return "No command was refused."
  const firstWords = first.count === 0 ? "none" : `${first.count}, the slowest after ${first.maxMs.toFixed(1)} ms`
  const later =
    refusedLater.count === 0
      ? "none"
      : `${refusedLater.count}, p50 ${refusedLater.p50Ms.toFixed(1)} ms, p99 ${refusedLater.p99Ms.toFixed(1)} ms, slowest ${refusedLater.maxMs.toFixed(1)} ms`
  return `Commands refused in the first 3 s: ${firstWords}. Later: ${later}.`
}

const firsts = (figures: DrillFigures): string => {
  const cell = (ms: number | null, none: string) => (ms === null ? none : `${(ms / 1000).toFixed(2)} s`)
  const rows = paths
    .filter((path) => path !== "reactions")
    .map((path) => [path, cell(figures.firstError[path], "none"), cell(figures.firstSuccess[path], "none")])
  return [
    markdownTable(
      ["path", "first not answered, after the fault began", "first answered, after it accepted again"],
      rows
    ),
    "",
    `It accepted again ${(figures.acceptsAfterMs / 1000).toFixed(2)} s after the fault was ended. From then on the backlog was drained ${caughtUp(figures.viewsCaughtUpMs)}, every subscriber had everything ${caughtUp(figures.feedsCaughtUpMs)}, and each file that waited was released or rejected ${caughtUp(figures.filesCaughtUpMs)}. Sockets were cut ${figures.socketCuts} times.`
  ].join("\n")
}

const caughtUp = (ms: number | null): string =>
  ms === null ? "not in the time that was watched" : `after ${(ms / 1000).toFixed(2)} s`

export const costList = ({ costs: all, seconds }: DrillFigures): string =>
  [
    `99.98 % leaves ${budgetMinutes.toFixed(2)} minutes in 30 days. This outage with its recovery took ${((seconds.outage + seconds.recovery) / 60).toFixed(2)} minutes:`,
    "",
    ...all.map(
      ({ available, path, words }) =>
        `- ${names[path]}: ${percent({ availability: available, sent: 1 })} answered, ${words}.`
    )
  ].join("\n")

const names: Readonly<Record<Path, string>> = {
  commands: "writing",
  queries: "reading",
  realtime: "being told of changes",
  uploads: "uploading",
  downloads: "downloading",
  reactions: "reactions"
}

const mebibytes = (bytes: number): string => (bytes / 1024 ** 2).toFixed(1)

const memory = ({ memory: all, memorySeries }: DrillFigures): string =>
  [
    markdownTable(
      ["process", "at the fault", "most", "end", "a minute", ""],
      all.map((one) => [
        one.process,
        ...[one.startBytes, one.maxBytes, one.endBytes, one.bytesPerMinute].map(mebibytes),
        one.flat === null ? "not judged" : one.flat ? "flat" : "**grows**"
      ])
    ),
    "",
    "MiB resident; the slope is that of the outage. Flat: the peak of its second half lies hardly above that of its first. Memory is judged in outages of 5 minutes and more, and not of processes that were started again. From left to right, the whole drill:",
    "",
    "```",
    ...memorySeries.map(chart),
    "```"
  ].join("\n")

const bars = " ▁▂▃▄▅▆▇█"
const chartWidth = 60

/** One line: from nothing to the most that the process ever had. */
export const chart = ({ process, samples }: MemorySeries): string => {
  const most = Math.max(1, ...samples.map(({ bytes }) => bytes))
  const width = Math.min(chartWidth, samples.length)
  const columns = Array.from({ length: width }, (_, column) => {
    const part = samples.slice(
      Math.floor((column * samples.length) / width),
      Math.floor(((column + 1) * samples.length) / width)
    )
    const height = Math.max(0, ...part.map(({ bytes }) => bytes)) / most
    return bars[Math.round(height * (bars.length - 1))] ?? " "
  })
  return `${process.padEnd(20)} ${columns.join("").padEnd(chartWidth)} ${mebibytes(most)} MiB`
}

const outcomes = ({ ledger }: DrillFigures): string =>
  `${ledger.acknowledged} acknowledged, ${ledger.refused} refused, ${ledger.declined} declined by a rule of the desk. Of ${ledger.unknown} whose outcome was not known at first, ${ledger.resolved} were learnt by repeating: ${ledger.hadBeenDone} had been done, the others were done then. ${ledger.uploads} uploads accepted.`
