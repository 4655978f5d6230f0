// All drills of a desk in one table: a row for each thing that was broken and how, a column for each path. Pure.
import type { Result } from "effect"
import type { Refusal } from "../Refusal.ts"
import type { PossibleOutage } from "../supervisor/Outage.ts"
import type { DrillFigures } from "./Figures.ts"
import { percent } from "./Report.ts"
import { paths } from "./Tally.ts"
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
