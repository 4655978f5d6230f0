// All drills of a desk in one document: a row for each thing that was broken and how, a column for each path, and what it means for the
// availability that a desk promises in a month and in a year. Pure.
import { Drill } from "@holdfast/resilience/Limits"
import { Duration, type Result } from "effect"
import type { Refusal } from "../Refusal.ts"
import type { PossibleOutage } from "../supervisor/Outage.ts"
import { affordable, budgetMinutes, budgetMinutesOfYear } from "./Budget.ts"
import type { DrillFigures } from "./Figures.ts"
import { costList, markdownTable, percent } from "./Report.ts"
import { type Path, paths } from "./Tally.ts"
import type { Judgement } from "./Verdict.ts"

export interface Summarised {
  readonly outage: PossibleOutage
  readonly seconds: number
  readonly result: Result.Result<
    { readonly figures: DrillFigures; readonly judgements: ReadonlyArray<Judgement> },
    Refusal
  >
}

export const summaryHead = ["broken", "how", "by", "for", ...paths, "verdict"]

/** Availability during the outage; reactions as how many were made up for. */
export const summaryCells = ({ outage, result, seconds }: Summarised): ReadonlyArray<string> => {
  const first = [outage.dependency, outage.fault, outage.means, `${seconds} s`]
  if (result._tag === "Failure") return [...first, ...paths.map(() => "-"), `not finished: ${result.failure.sentence}`]
  const { figures, judgements } = result.success
  return [...first, ...paths.map((path) => percent(figures.paths[path].outage)), verdictWords(judgements)]
}

const verdictWords = (judgements: ReadonlyArray<Judgement>): string => {
  const missed = judgements.filter(({ held }) => !held)
  const broken = missed.filter(({ kind }) => kind === "promise")
  if (missed.length === 0) return "held"
  const named = (broken.length > 0 ? broken : missed)
    .map(({ measured, promise }) => `${promise} (${measured})`)
    .join("; ")
  return broken.length > 0 ? `MISSED: ${named}` : `held; bar missed: ${named}`
}

export const summaryMarkdown = (commandLine: string, done: ReadonlyArray<Summarised>): string =>
  `${sections(commandLine, done).join("\n\n")}\n`

const sections = (commandLine: string, done: ReadonlyArray<Summarised>): ReadonlyArray<string> => {
  const all = done.flatMap(({ result }) => (result._tag === "Success" ? [result.success.figures] : []))
  return [
    "# Every drill of this desk",
    ["```sh", commandLine, "```"].join("\n"),
    ...all.slice(0, 1).map(opening),
    "## What was answered while it was broken",
    markdownTable(summaryHead, done.map(summaryCells)),
    "What was read from the cached views counts as answered. Of reactions: how many were made up for.",
    "## What it means for 99.98 %",
    `99.98 % leaves ${budgetMinutes.toFixed(2)} minutes in 30 days and ${budgetMinutesOfYear.toFixed(1)} in a year. Had each of these lasted ${outageMinutes} minutes, answering as it did here while it lasted and in its recovery, it would have cost these minutes, and a year allows so many of them:`,
    markdownTable(["broken", "how", ...countedPaths], all.map(budgetCells)),
    ...longest(all)
  ]
}

const opening = ({ machine, perSecond, startedAt }: DrillFigures): string =>
  `Started ${startedAt} on ${machine}. Load: ${perSecond} requests a second in all. Clients, desk and servers share the machine.`

/** The outage that the desk is made for. */
const outageMinutes = Duration.toMinutes(Drill.lengthMax)

/** Reactions are late by design and have no rate of their own. */
const countedPaths = paths.filter((path): path is Exclude<Path, "reactions"> => path !== "reactions")

const budgetCells = (figures: DrillFigures): ReadonlyArray<string> => [
  ...[figures.dependency, figures.fault],
  ...countedPaths.map((path) => {
    const { outage, recovery } = figures.paths[path]
    const afterwards = figures.seconds.recovery / 60
    const lost = outageMinutes * (1 - outage.availability) + afterwards * (1 - recovery.availability)
    return lost === 0 ? "nothing" : `${lost.toFixed(2)}; ${affordable(lost)} a year`
  })
]

/** What one real outage came to, path by path: of the drill that lasted longest. */
const longest = (all: ReadonlyArray<DrillFigures>): ReadonlyArray<string> => {
  const [first, ...others] = all
  if (first === undefined) return []
  const long = others.reduce((most, one) => (one.seconds.outage > most.seconds.outage ? one : most), first)
  return [
    `## The longest: ${long.dependency} away for ${long.seconds.outage.toFixed(0)} s (${long.fault})`,
    costList(long)
  ]
}
