// A desk under load that is broken again and again, and at the end the comparison of everything that its clients were told with what is
// there. Each step breaks something, waits until all of it runs again, and goes on when clients have had so many more answers.
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type AuditFindings, audit } from "@holdfast/holdfast/drill/Audit"
import { type LedgerCounts, makeLedger, readLedger } from "@holdfast/holdfast/drill/Ledger"
import { type Load, type Rates, startLoad } from "@holdfast/holdfast/drill/Load"
import { makeTally, type Tally } from "@holdfast/holdfast/drill/Tally"
import { Duration, Effect, Schedule } from "effect"
import type { DrillDesk } from "./DrillDesk.ts"
import { allReady, type Harm } from "./Harms.ts"
import { type MemoryUse, watchMemory } from "./Memory.ts"

export interface Step {
  /** Broken at the same time. */
  readonly harms: ReadonlyArray<Harm>
  /** How long the harm lasts before it is mended; killed processes are mended by their supervisor at once. */
  readonly lasts: Duration.Duration
  /** Goes on after so many further acknowledged commands, and after this time. */
  readonly acknowledged: number
  readonly rest: Duration.Duration
}

export interface EnduranceOptions {
  readonly rates: Rates
  readonly feeds: number
  readonly steps: Iterable<Step>
  readonly report: (line: string) => void
  /** Somebody wants no further step, only the comparison. */
  readonly isEnough?: () => boolean
}

export interface EnduranceResult {
  readonly steps: number
  readonly lastedMs: number
  readonly told: LedgerCounts
  readonly findings: AuditFindings
  readonly tally: Tally
  readonly feeds: Load["feeds"]
  readonly memory: ReadonlyArray<MemoryUse>
}

export const endure = Effect.fnUntraced(function* (desk: DrillDesk, options: EnduranceOptions) {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-ledger-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )
  const ledger = yield* makeLedger(folder)
  const tally = makeTally()
  const memory = yield* watchMemory(desk)
  const { feeds, rates, report } = options
  const load = yield* startLoad({ target: desk.target, ledger, tally, rates, feeds })
  const begunMs = performance.now()
  let steps = 0
  for (const step of options.steps) {
    if (options.isEnough?.() === true) break
    const line = yield* take(step, desk, () => ledger.counts)
    report(`${++steps}\t${line}`)
  }
  const lastedMs = performance.now() - begunMs
  report("Waiting until every outcome is known and every event has arrived ...")
  yield* load.stop
  yield* load.settle(Duration.minutes(10))
  yield* quiet(load)
  ledger.flush()
  report("Comparing ...")
  const findings = yield* settledAudit(desk, folder)
  const result: EnduranceResult = {
    ...{ steps, lastedMs, findings, tally, feeds: load.feeds },
    ...{ told: ledger.counts, memory: memory() }
  }
  return result
})

const take = Effect.fnUntraced(function* (step: Step, desk: DrillDesk, counts: () => LedgerCounts) {
  const before = counts()
  const begunMs = performance.now()
  const mends = yield* Effect.forEach(step.harms, ({ begin }) => begin, { concurrency: "unbounded" })
  yield* Effect.sleep(step.lasts)
  yield* Effect.forEach(mends, (mend) => mend, { concurrency: "unbounded", discard: true })
  yield* allReady(desk)
  const mendedMs = performance.now() - begunMs
  const enough = () => counts().acknowledged - before.acknowledged >= step.acknowledged
  yield* Effect.sleep(step.rest)
  yield* Effect.repeat(Effect.sync(enough), { until: (is) => is, schedule: Schedule.spaced("100 millis") })
  const after = counts()
  const [acknowledged, refused, unknown] = [
    after.acknowledged - before.acknowledged,
    after.refused - before.refused,
    after.unknown - before.unknown
  ]
  const seconds = (ms: number) => (ms / 1000).toFixed(1)
  const lasted = `${seconds(mendedMs)} s until mended, ${seconds(performance.now() - begunMs)} s in all`
  const told = `${acknowledged} acknowledged, ${refused} refused, ${unknown} unknown; ${after.acknowledged} in all`
  return `${step.harms.map(({ name }) => name).join(" and ")}: ${lasted}; ${told}`
})

/** Nothing is awaited any more, and no subscriber has heard anything new for a while. */
const quiet = (load: Load) => {
  const heard = () => load.feeds.reduce((sum, { lastPosition }) => sum + lastPosition, 0)
  let last = -1
  let quietTurns = 0
  const look = Effect.sync(() => {
    quietTurns = heard() === last && load.awaited() === 0 ? quietTurns + 1 : 0
    last = heard()
    return quietTurns >= 10
  })
  return look.pipe(
    Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("1 second") }),
    Effect.timeoutOption("30 minutes")
  )
}

/** Views and files may still be catching up: they are given time, and what is then wrong is wrong. */
const settledAudit = (desk: DrillDesk, folder: string) =>
  audit({ databaseUrl: desk.databaseUrl, readDatabaseUrl: desk.databaseUrl }, readLedger(folder), 0).pipe(
    Effect.repeat({
      until: (findings) => faultsOf(findings).length === 0,
      schedule: Schedule.spaced("20 seconds").pipe(Schedule.upTo({ times: 15 }))
    })
  )

/** Every promise that was not kept, in words. */
export const faultsOf = ({ commands, feeds, log, uploads, views }: AuditFindings): ReadonlyArray<string> => {
  const found = (what: string, count: number) => (count === 0 ? [] : [`${what}: ${count}`])
  return [
    ...found("acknowledged commands lost", commands.lost.count),
    ...found("commands applied twice", commands.doubled.count),
    ...found("commands applied though refused", commands.undenied.count),
    ...found("commands answered with a wrong version", commands.misquoted.count),
    ...found("commands of unknown outcome", commands.unresolved.count),
    ...found("positions missing", log.gaps),
    ...found("events without a position", log.unpositioned),
    ...found("streams with a version missing", log.gapped.count),
    ...found("streams out of order", log.reordered.count),
    ...found("events parked", log.parked),
    ...found("positions that the views are behind", views.behind),
    ...found("views that differ from the log", views.differing.count),
    ...found("messages that nobody can read", views.missing.count),
    ...found("uploads lost", uploads.lost.count),
    ...found("uploads registered twice", uploads.doubled.count),
    ...found("uploads with other content", uploads.wrongContent.count),
    ...found("uploads neither released nor rejected", uploads.unfinished.count),
    ...feeds.flatMap(({ doubled, missing, reordered, terms, unexpected }) => [
      ...found(`feed ${terms.number}, missing`, missing),
      ...found(`feed ${terms.number}, twice`, doubled),
      ...found(`feed ${terms.number}, out of order`, reordered),
      ...found(`feed ${terms.number}, not permitted`, unexpected)
    ])
  ]
}
