// Loops that count what nobody else counts: the journal, looked at often by gateway and worker alike, since either may be the one that is away; and the
// files of the core by state, gone through page by page with long rests, so that counting millions costs next to nothing.
import { FileState } from "@holdfast/contracts/attachment/Stages"
import { FileCatalog } from "@holdfast/database/FileCatalog"
import { nextStage } from "@holdfast/domain/attachment/Attachment"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { FileCatalog as Limits } from "@holdfast/resilience/Limits"
import { Duration, Effect, Metric, Stream } from "effect"
import { JournalView } from "./JournalView.ts"

const journalEntries = Metric.gauge("holdfast_journal_entries", {
  description: "Completed uploads that the core has not heard of"
})
const journalOldest = Metric.gauge("holdfast_journal_oldest_ms", {
  description: "Age of the oldest of them, in milliseconds; 0 when there is none"
})
const files = Metric.gauge("holdfast_files", { description: "Files by state" })
const fileBytes = Metric.gauge("holdfast_files_bytes", { description: "Their uploaded bytes, by state" })
const oldestWait = Metric.gauge("holdfast_files_oldest_wait_ms", {
  description: "How long the file has waited that waits the longest, by state, in milliseconds; 0 when none does"
})

export const runJournal = keepRunning(
  "gauges of the journal",
  Effect.forever(
    Effect.andThen(
      Effect.suspend(() => lookAtJournal),
      Effect.sleep(Limits.journalLookInterval)
    )
  )
)

export const lookAtJournal = Effect.gen(function* () {
  const { entries, oldestAgeMs } = yield* JournalView.use((journal) => journal.depth)
  yield* Metric.update(journalEntries, entries)
  yield* Metric.update(journalOldest, oldestAgeMs ?? 0)
})

/** The longer it takes, the longer it rests. */
export const runCensus = keepRunning(
  "census of files",
  Effect.forever(
    Effect.gen(function* () {
      const [lasted] = yield* Effect.timed(census)
      yield* Effect.sleep(Duration.max(Limits.censusRestMin, Duration.times(lasted, Limits.censusRestTimes)))
    })
  )
)

const isWaiting = (state: FileState): boolean => state === "parked" || nextStage({ state }) !== null

export const census = Effect.gen(function* () {
  const catalog = yield* FileCatalog
  const pages = yield* Stream.runCollect(catalog.counts)
  for (const state of FileState.literals) {
    const counted = pages.flat().filter((one) => one.state === state)
    const sumOf = (key: "files" | "bytes") => counted.reduce((sum, one) => sum + one[key], 0)
    yield* Metric.update(Metric.withAttributes(files, { state }), sumOf("files"))
    yield* Metric.update(Metric.withAttributes(fileBytes, { state }), sumOf("bytes"))
    if (!isWaiting(state)) continue
    const oldestMs = counted.reduce((oldest, one) => Math.max(oldest, one.oldestMs), 0)
    yield* Metric.update(Metric.withAttributes(oldestWait, { state }), oldestMs)
  }
})
