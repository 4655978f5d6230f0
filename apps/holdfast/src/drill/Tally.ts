// What the clients of a drill were answered, per path and phase. Every request that was due is in here once, also those that could not be
// sent because the path was stuck; its time counts from when it was due. Fixed memory, whatever the length of the drill.
import { type Histogram, makeHistogram } from "./Histogram.ts"

/** Reactions: from a command or an upload to what its reader sees of it. */
export const paths = ["commands", "queries", "realtime", "uploads", "downloads", "reactions"] as const
export type Path = (typeof paths)[number]

/** onset: the first seconds of the fault, in which it is discovered. */
export const phases = ["healthy", "onset", "fault", "recovery"] as const
export type Phase = (typeof phases)[number]

/**
 * live and cached: answered. refused: in the words that the contract foresees, nothing was done. unknown: typed, and repeating tells.
 * failed: no answer, a wrong one, or one that the contract does not foresee.
 */
export const outcomes = ["live", "cached", "refused", "unknown", "failed"] as const
export type Outcome = (typeof outcomes)[number]

export interface Seen {
  readonly path: Path
  /** When it was due; all times are milliseconds since the load began. */
  readonly dueMs: number
  readonly endMs: number
  readonly outcome: Outcome
  /** The error as it came, such as `WriteUnavailable`; empty when answered. */
  readonly error?: string
  /** NaN: it is counted and has no time. */
  readonly lastedMs?: number
}

export interface Cell {
  readonly counts: Readonly<Record<Outcome, number>>
  /** Of what was answered. */
  readonly answered: Histogram
  /** Of what was refused in plain words. */
  readonly refused: Histogram
  readonly errors: ReadonlyMap<string, number>
}

export interface PhaseMark {
  readonly phase: Phase
  readonly fromMs: number
}

export interface Tally {
  readonly nowMs: () => number
  /** From now on. */
  enter(phase: Phase): void
  readonly marks: ReadonlyArray<PhaseMark>
  record(seen: Seen): void
  /** A time alone, such as an event's way to a subscriber, of what is counted in another way. */
  timed(path: Path, lastedMs: number): void
  cell(path: Path, phase: Phase): Cell
  /** The first of a path at or after a moment that satisfies; answers are remembered from the last phase change on. */
  firstAnswered(path: Path): number | undefined
  firstUnanswered(path: Path): number | undefined
}

interface MutableCell {
  readonly counts: Record<Outcome, number>
  readonly answered: Histogram
  readonly refused: Histogram
  readonly errors: Map<string, number>
}

const errorKindsMax = 50

export const makeTally = (): Tally => {
  const begun = performance.now()
  const nowMs = () => performance.now() - begun
  const marks: Array<PhaseMark> = [{ phase: "healthy", fromMs: 0 }]
  const cells = new Map<string, MutableCell>()
  const firsts = { answered: new Map<Path, number>(), unanswered: new Map<Path, number>() }
  const cell = (path: Path, phase: Phase): MutableCell => {
    const known = cells.get(`${path} ${phase}`) ?? emptyCell()
    cells.set(`${path} ${phase}`, known)
    return known
  }
  const record = (seen: Seen) => {
    const { dueMs, endMs, outcome, path } = seen
    const into = cell(path, phaseOf(marks, dueMs, endMs))
    into.counts[outcome]++
    const lastedMs = seen.lastedMs ?? endMs - dueMs
    const isAnswered = outcome === "live" || outcome === "cached"
    if (!Number.isNaN(lastedMs)) {
      if (isAnswered) into.answered.record(lastedMs)
      else if (outcome === "refused") into.refused.record(lastedMs)
    }
    if (!isAnswered && (into.errors.size < errorKindsMax || into.errors.has(seen.error ?? ""))) {
      into.errors.set(seen.error ?? "", (into.errors.get(seen.error ?? "") ?? 0) + 1)
    }
    const since = marks.at(-1)?.fromMs ?? 0
    const first = isAnswered ? firsts.answered : firsts.unanswered
    if (dueMs >= since && !first.has(path)) first.set(path, endMs)
  }
  return {
    nowMs,
    enter: (phase) => {
      marks.push({ phase, fromMs: nowMs() })
      // The onset goes on as the fault: what was first in it stays first.
      if (phase === "fault") return
      firsts.answered.clear()
      firsts.unanswered.clear()
    },
    marks,
    record,
    timed: (path, lastedMs) => cell(path, marks.at(-1)?.phase ?? "healthy").answered.record(lastedMs),
    cell,
    firstAnswered: (path) => firsts.answered.get(path),
    firstUnanswered: (path) => firsts.unanswered.get(path)
  }
}

const emptyCell = (): MutableCell => ({
  counts: { live: 0, cached: 0, refused: 0, unknown: 0, failed: 0 },
  answered: makeHistogram(),
  refused: makeHistogram(),
  errors: new Map()
})

/** The phase in which it was due; what was due while all was well and ended in the fault felt the fault. */
export const phaseOf = (marks: ReadonlyArray<PhaseMark>, dueMs: number, endMs: number): Phase => {
  const at = (ms: number) => marks.findLast(({ fromMs }) => fromMs <= ms)?.phase ?? "healthy"
  const due = at(dueMs)
  if (due !== "healthy") return due
  const end = at(endMs)
  return end === "healthy" ? "healthy" : "onset"
}

export const sentIn = ({ counts }: Cell): number => outcomes.reduce((sum, outcome) => sum + counts[outcome], 0)
export const answeredIn = ({ counts }: Cell): number => counts.live + counts.cached
