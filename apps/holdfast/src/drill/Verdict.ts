// What a drill saw, judged against what the desk promises. Pure: the probes watch, this file decides.
import { Drill } from "@holdfast/resilience/Limits"
import { Duration } from "effect"

export interface ReadSeen {
  /** When it was asked; all times are milliseconds since the drill began. */
  readonly atMs: number
  readonly lastedMs: number
  /** `null`: not answered. */
  readonly source: "live" | "cached" | null
}

export interface WriteSeen {
  readonly atMs: number
  readonly lastedMs: number
  readonly commandId: string
  /** unknown: typed, and repeating the command tells. failed: anything that the contract does not foresee. */
  readonly outcome: "accepted" | "refused" | "unknown" | "failed"
  /** The error as it came, such as `WriteUnavailable`; empty when accepted. */
  readonly error: string
}

export interface Seen {
  readonly reads: ReadonlyArray<ReadSeen>
  readonly writes: ReadonlyArray<WriteSeen>
  readonly socketCuts: number
  readonly outageFromMs: number
  readonly outageToMs: number
  /** Commands that were acknowledged, or found done when repeated, and that cannot be read afterwards. */
  readonly missing: ReadonlyArray<string>
  readonly acknowledged: number
}

export interface Promise {
  readonly promise: string
  readonly measured: string
  readonly held: boolean
}

export const verdict = (seen: Seen): ReadonlyArray<Promise> => [
  readsAnswered(seen),
  writesTyped(seen),
  firstRefusal(seen),
  refusedAtOnce(seen),
  socketsKept(seen),
  recovered(seen),
  nothingLost(seen)
]

const readsAnswered = ({ reads }: Seen): Promise => {
  const of = (source: ReadSeen["source"]) => reads.filter((read) => read.source === source).length
  const measured = `${of("live")} live, ${of("cached")} cached, ${of(null)} unanswered`
  return { promise: "every read is answered", measured, held: reads.length > 0 && of(null) === 0 }
}

const writesTyped = ({ writes }: Seen): Promise => {
  const failed = writes.filter(({ outcome }) => outcome === "failed")
  const measured =
    failed.length === 0 ? `${writes.length} of ${writes.length}` : `${failed.length} not: ${failed[0]?.error}`
  return {
    promise: "every write is accepted or refused in plain words",
    measured,
    held: writes.length > 0 && failed.length === 0
  }
}

const during = ({ outageFromMs, outageToMs, writes }: Seen) =>
  writes.filter(({ atMs }) => atMs >= outageFromMs && atMs < outageToMs)

/** From the beginning of the outage to the first refusal's arrival. */
const firstRefusal = (seen: Seen): Promise => {
  const refusal = during(seen).find(({ outcome }) => outcome !== "accepted")
  const limitMs = Duration.toMillis(Drill.firstRefusalMax)
  const afterMs = refusal === undefined ? undefined : refusal.atMs + refusal.lastedMs - seen.outageFromMs
  return {
    promise: `the outage is noticed within ${limitMs / 1000} s`,
    measured: afterMs === undefined ? "no write was refused" : `after ${Math.round(afterMs)} ms (${refusal?.error})`,
    held: afterMs !== undefined && afterMs <= limitMs
  }
}

/** The breaker counts as open from the first refusal that came at once. */
export const refusalsOnceOpen = (seen: Seen): ReadonlyArray<number> => {
  const refused = during(seen).filter(({ outcome }) => outcome === "refused")
  const open = refused.findIndex(({ lastedMs }) => lastedMs <= Duration.toMillis(Drill.refusalP99Max))
  return open === -1 ? [] : refused.slice(open).map(({ lastedMs }) => lastedMs)
}

/** The nearest rank: the smallest value that at least this share of all do not exceed. Of fewer than a hundred, the p99 is the slowest. */
export const percentile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

const refusedAtOnce = (seen: Seen): Promise => {
  const lasted = refusalsOnceOpen(seen)
  const p99 = percentile(lasted, 0.99)
  const ms = (share: number) => `${percentile(lasted, share).toFixed(1)} ms`
  const limitMs = Duration.toMillis(Drill.refusalP99Max)
  return {
    promise: `then writes are refused at once (p99 within ${limitMs} ms)`,
    measured:
      lasted.length === 0
        ? "no write was refused at once"
        : `p50 ${ms(0.5)}, p99 ${ms(0.99)}, slowest ${ms(1)} of ${lasted.length}`,
    held: p99 <= limitMs
  }
}

const socketsKept = ({ socketCuts }: Seen): Promise => ({
  promise: "an open socket stays open",
  measured: socketCuts === 0 ? "it did" : `cut ${socketCuts} times`,
  held: socketCuts === 0
})

/** From the end of the outage to the arrival of the first accepted write after it. */
const recovered = ({ outageToMs, writes }: Seen): Promise => {
  const first = writes.find(({ atMs, outcome }) => atMs >= outageToMs && outcome === "accepted")
  const limitMs = Duration.toMillis(Drill.recoveryMax)
  const afterMs = first === undefined ? undefined : first.atMs + first.lastedMs - outageToMs
  return {
    promise: `writes are accepted again within ${limitMs / 1000} s`,
    measured: afterMs === undefined ? "they were not" : `after ${(afterMs / 1000).toFixed(1)} s`,
    held: afterMs !== undefined && afterMs <= limitMs
  }
}

const nothingLost = ({ acknowledged, missing }: Seen): Promise => ({
  promise: "everything acknowledged is there",
  measured: missing.length === 0 ? `${acknowledged} of ${acknowledged}` : `missing: ${missing.join(", ")}`,
  held: acknowledged > 0 && missing.length === 0
})
