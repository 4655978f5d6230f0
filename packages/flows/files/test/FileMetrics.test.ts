// What an operator sees of files moves with what happens to them: stages, the journal, and the files of the core by state.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { CorrelationId, FileId, PrincipalId } from "@holdfast/contracts/Ids"
import { FileCatalog } from "@holdfast/database/FileCatalog"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { uuid } from "@holdfast/testkit/History"
import { Deferred, Effect, Fiber, Layer, Semaphore, Stream } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { TestClock } from "effect/testing"
import { census, lookAtJournal } from "../src/FileGauges.ts"
import { Journal, layer as journalLayer } from "../src/Journal.ts"
import * as JournalView from "../src/JournalView.ts"
import { observed } from "../src/StageMetrics.ts"
import { eicar, receive, servicesOf, World } from "./PipelineWorld.ts"
import { sha256Of } from "./UploadWorld.ts"

/** Of the series whose labels are just these, in any order; other tests of this process move them, too. */
const valueOf = (name: string, labels: Readonly<Record<string, string>> = {}) =>
  Effect.map(PrometheusMetrics.format(), (text) => {
    const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`)
    const line = text.split("\n").find((one) => {
      const [, found, inner = ""] = /^(\w+)(?:\{(.*)\})? /.exec(one) ?? []
      return found === name && inner.split(",").filter(Boolean).sort().join() === wanted.sort().join()
    })
    return line === undefined ? 0 : Number(line.split(" ").at(-1))
  })

const movedBy = <A, E, R>(body: Effect.Effect<A, E, R>, ...series: Parameters<typeof valueOf>) =>
  Effect.gen(function* () {
    const before = yield* valueOf(...series)
    yield* body
    return (yield* valueOf(...series)) - before
  })

const outcomes = "holdfast_file_stage_outcomes_total"

describe("metrics of stages", () => {
  const through = (bytes: Buffer) => {
    const world = new World()
    return Effect.andThen(receive(world, bytes), world.run).pipe(Effect.provide(servicesOf(world)))
  }

  it.live("count each stage by how it ended and why", () =>
    Effect.gen(function* () {
      const text = Buffer.from("Dear desk")
      for (const stage of ["identify", "scan", "convert", "release"]) {
        expect(yield* movedBy(through(text), outcomes, { stage, outcome: "passed" })).toBe(1)
      }
      const rejected = { stage: "scan", outcome: "rejected", reason: "malware" }
      expect(yield* movedBy(through(eicar), outcomes, rejected)).toBe(1)
      const lane = { stage: "scan", lane: "small" }
      expect(yield* movedBy(through(text), "holdfast_file_stage_duration_ms_count", lane)).toBe(1)
      expect(yield* movedBy(through(text), "holdfast_file_stage_wait_ms_count", lane)).toBe(1)
      expect(yield* valueOf("holdfast_file_stages_under_way", lane)).toBe(0)
    })
  )

  it.effect("tell how long a stage waited, what is queued, what is under way, and who is away", () =>
    Effect.gen(function* () {
      const due = { stage: "scan", sizeBytes: 2 ** 30, dueAtMs: 0 } as const
      const labels = { stage: "scan", lane: "large" }
      const [queued, underWay] = ["holdfast_file_stages_queued", "holdfast_file_stages_under_way"]
      const lane = yield* Semaphore.make(1)
      const away = new Unavailable({ dependency: "scanner", reason: "timeout", retryAfterMs: 1, detail: "away" })
      const waitedMs = yield* valueOf("holdfast_file_stage_wait_ms_sum", labels)
      yield* TestClock.adjust("3 seconds")
      const end = yield* Deferred.make<never, Unavailable>()
      const start = Effect.forkChild(observed(due, Semaphore.withPermits(lane, 1), Deferred.await(end)), {
        startImmediately: true
      })
      const [first, second] = [yield* start, yield* start]
      expect([yield* valueOf(queued, labels), yield* valueOf(underWay, labels)]).toEqual([1, 1])
      expect((yield* valueOf("holdfast_file_stage_wait_ms_sum", labels)) - waitedMs).toBe(3000)
      yield* Fiber.interrupt(second)
      expect([yield* valueOf(queued, labels), yield* valueOf(underWay, labels)]).toEqual([0, 1])
      const ended = Effect.andThen(Deferred.fail(end, away), Fiber.await(first))
      const waits = { stage: "scan", outcome: "waits", reason: "scanner" }
      expect(yield* movedBy(ended, outcomes, waits)).toBe(1)
      expect([yield* valueOf(queued, labels), yield* valueOf(underWay, labels)]).toEqual([0, 0])
    })
  )
})

it.effect("files are counted by state, with the one that waits the longest", () =>
  Effect.gen(function* () {
    yield* census
    expect(yield* valueOf("holdfast_files", { state: "parked" })).toBe(3)
    expect(yield* valueOf("holdfast_files_bytes", { state: "parked" })).toBe(30)
    expect(yield* valueOf("holdfast_files_oldest_wait_ms", { state: "parked" })).toBe(3_599_000)
    expect(yield* valueOf("holdfast_files_oldest_wait_ms", { state: "received" })).toBe(0)
    expect(yield* valueOf("holdfast_files", { state: "released" })).toBe(1)
  }).pipe(
    Effect.provide(
      Layer.mock(FileCatalog)({
        counts: Stream.make(
          [{ state: "parked", files: 1, bytes: 10, oldestMs: 2000 }],
          [
            { state: "parked", files: 2, bytes: 20, oldestMs: 3_599_000 },
            { state: "released", files: 1, bytes: 5, oldestMs: 0 }
          ]
        )
      })
    )
  )
)

it.live("the journal is as long as it is", () => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-depth-"))
  return Effect.gen(function* () {
    yield* lookAtJournal
    expect([yield* valueOf("holdfast_journal_entries"), yield* valueOf("holdfast_journal_oldest_ms")]).toEqual([0, 0])
    const facts = { name: "a", sizeBytes: 1, sha256: sha256Of(Buffer.from("a")), declaredType: "text/plain" }
    yield* (yield* Journal).write({
      file: { ...facts, fileId: FileId.make(uuid(1)), ownerId: PrincipalId.make("ada") },
      correlationId: CorrelationId.make(uuid(2)),
      traceparent: null
    })
    yield* lookAtJournal
    expect(yield* valueOf("holdfast_journal_entries")).toBe(1)
  }).pipe(
    Effect.provide(Layer.merge(journalLayer(folder), JournalView.layer(folder))),
    Effect.ensuring(Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
  )
})
