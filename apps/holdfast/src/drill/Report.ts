// A drill as lines of text: one each second while it runs, and the promises at the end.
import { table } from "../Table.ts"
import { type Promise, percentile, type ReadSeen, type WriteSeen } from "./Verdict.ts"

const widths = [6, 11, 24, 34, 8] as const
const line = (cells: ReadonlyArray<string>) =>
  cells
    .map((cell, column) => cell.padEnd(widths[column] ?? 0))
    .join("  ")
    .trimEnd()

export const secondHead = line(["time", "postgresql", "reads", "writes", "socket"])

/** What was asked in the last second. */
export const secondRow = (
  nowMs: number,
  server: string,
  reads: ReadonlyArray<ReadSeen>,
  writes: ReadonlyArray<WriteSeen>,
  socketCuts: number
): string => {
  const recent = <A extends { readonly atMs: number; readonly lastedMs: number }>(all: ReadonlyArray<A>) =>
    all.filter(({ atMs, lastedMs }) => atMs + lastedMs > nowMs - 1_000)
  return line([
    `${(nowMs / 1000).toFixed(0)} s`,
    server,
    readCell(recent(reads)),
    writeCell(recent(writes)),
    socketCuts === 0 ? "open" : `${socketCuts} cuts`
  ])
}

const readCell = (reads: ReadonlyArray<ReadSeen>): string => {
  const sources = counted(reads.map(({ source }) => source ?? "UNANSWERED"))
  return reads.length === 0 ? "waiting" : `${sources}, ${slowest(reads)}`
}

const writeCell = (writes: ReadonlyArray<WriteSeen>): string => {
  const outcomes = counted(writes.map(({ error, outcome }) => (outcome === "accepted" ? "accepted" : error)))
  return writes.length === 0 ? "waiting" : `${outcomes}, ${slowest(writes)}`
}

const slowest = (calls: ReadonlyArray<{ readonly lastedMs: number }>): string =>
  `${percentile(
    calls.map(({ lastedMs }) => lastedMs),
    1
  ).toFixed(0)} ms`

const counted = (words: ReadonlyArray<string>): string =>
  [...new Set(words)].map((word) => `${words.filter((other) => other === word).length} ${word}`).join(", ")

export const verdictTable = (promises: ReadonlyArray<Promise>): string =>
  table(
    ["", "promise", "measured"],
    promises.map(({ held, measured, promise }) => [held ? "held" : "BROKEN", promise, measured])
  )
