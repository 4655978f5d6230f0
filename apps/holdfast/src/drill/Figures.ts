// The numbers of a drill, in a form that survives as JSON: what the report is rendered from and what the verdict judges. Pure.
import type { AuditFindings } from "./Audit.ts"
import { type Cost, costOf } from "./Budget.ts"
import { type Histogram, makeHistogram } from "./Histogram.ts"
import type { LedgerCounts } from "./Ledger.ts"
import type { MemoryFigures, MemorySeries } from "./Memory.ts"
import { type Cell, type Outcome, outcomes, type Path, type Phase, paths, type Tally } from "./Tally.ts"

export interface Times {
  readonly count: number
  readonly p50Ms: number
  readonly p90Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

export interface PathFigures {
  readonly counts: Readonly<Record<Outcome, number>>
  readonly sent: number
  /** Live or cached, of all that were due. 1 when nothing was. */
  readonly availability: number
  readonly answered: Times
  readonly refused: Times
  readonly errors: Readonly<Record<string, number>>
}

/** outage: onset and fault together. */
export const stretches = ["healthy", "onset", "outage", "recovery"] as const
export type Stretch = (typeof stretches)[number]

export interface DrillFigures {
  readonly commandLine: string
  readonly machine: string
  readonly startedAt: string
  readonly dependency: string
  readonly fault: string
  readonly means: "signal" | "proxy"
  readonly perSecond: number
  readonly seconds: Readonly<Record<"healthy" | "outage" | "recovery", number>>
  readonly paths: Readonly<Record<Path, Readonly<Record<Stretch, PathFigures>>>>
  /** Refusals of commands later than the onset. */
  readonly refusedLater: Times
  /** From asking for the end of the fault until the dependency accepted again. */
  readonly acceptsAfterMs: number
  /** From the beginning of the fault; null: none. */
  readonly firstError: Readonly<Record<Path, number | null>>
  /** From the moment at which the dependency accepted again; null: none. */
  readonly firstSuccess: Readonly<Record<Path, number | null>>
  /** From the same moment; null: not within the time that is watched. */
  readonly viewsCaughtUpMs: number | null
  readonly feedsCaughtUpMs: number | null
  readonly filesCaughtUpMs: number | null
  /** Every outcome became known in time. */
  readonly settled: boolean
  /** Caused and never seen by its reader. */
  readonly awaited: number
  readonly socketCuts: number
  readonly resyncs: number
  readonly ledger: LedgerCounts
  readonly audit: AuditFindings
  readonly memory: ReadonlyArray<MemoryFigures>
  readonly memorySeries: ReadonlyArray<MemorySeries>
  readonly costs: ReadonlyArray<Cost>
}

export const timesOf = (histogram: Histogram): Times => ({
  count: histogram.count,
  p50Ms: rounded(histogram.percentile(0.5)),
  p90Ms: rounded(histogram.percentile(0.9)),
  p99Ms: rounded(histogram.percentile(0.99)),
  maxMs: rounded(histogram.maxMs)
})

/** JSON knows no NaN: 0 of nothing, beside a count of 0. */
const rounded = (ms: number): number => (Number.isNaN(ms) ? 0 : Math.round(ms * 100) / 100)

const phasesOf: Readonly<Record<Stretch, ReadonlyArray<Phase>>> = {
  healthy: ["healthy"],
  onset: ["onset"],
  outage: ["onset", "fault"],
  recovery: ["recovery"]
}

const pathFigures = (cells: ReadonlyArray<Cell>): PathFigures => {
  const answered = makeHistogram()
  const refused = makeHistogram()
  const counts: Record<Outcome, number> = { live: 0, cached: 0, refused: 0, unknown: 0, failed: 0 }
  const errors: Record<string, number> = {}
  for (const cell of cells) {
    answered.include(cell.answered)
    refused.include(cell.refused)
    for (const outcome of outcomes) counts[outcome] += cell.counts[outcome]
    for (const [error, count] of cell.errors) errors[error] = (errors[error] ?? 0) + count
  }
  const sent = outcomes.reduce((sum, outcome) => sum + counts[outcome], 0)
  const availability = sent === 0 ? 1 : (counts.live + counts.cached) / sent
  return { counts, sent, availability, answered: timesOf(answered), refused: timesOf(refused), errors }
}

export const allPathFigures = (tally: Tally): DrillFigures["paths"] => {
  const of = (path: Path) => {
    const stretch = (one: Stretch) => pathFigures(phasesOf[one].map((phase) => tally.cell(path, phase)))
    return {
      healthy: stretch("healthy"),
      onset: stretch("onset"),
      outage: stretch("outage"),
      recovery: stretch("recovery")
    }
  }
  return perPath(of)
}

export const perPath = <A>(of: (path: Path) => A): Readonly<Record<Path, A>> => ({
  commands: of("commands"),
  queries: of("queries"),
  realtime: of("realtime"),
  uploads: of("uploads"),
  downloads: of("downloads"),
  reactions: of("reactions")
})

/** Reactions are late by design and have no rate of their own. */
export const costsOf = (figures: DrillFigures["paths"], minutes: number): ReadonlyArray<Cost> =>
  paths.flatMap((path) => {
    if (path === "reactions") return []
    const { outage, recovery } = figures[path]
    const answered = [outage, recovery].reduce((sum, { counts }) => sum + counts.live + counts.cached, 0)
    return [costOf(path, outage.sent + recovery.sent, answered, minutes)]
  })
