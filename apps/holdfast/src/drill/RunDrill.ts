// One drill from its healthy beginning to its audit. It breaks one thing under load, lets it heal, waits until the desk has made up for it, and
// returns what was measured. However it ends, the fault is healed and every client is gone.
import { cpus, loadavg, totalmem } from "node:os"
import { join } from "node:path"
import { Drill } from "@holdfast/resilience/Limits"
import { Clock, Duration, Effect, Fiber, Schedule } from "effect"
import { refuse } from "../Refusal.ts"
import { askHeal, askOutage, askStates } from "../supervisor/Control.ts"
import type { PossibleOutage } from "../supervisor/Outage.ts"
import { postgresName } from "../supervisor/Postgres.ts"
import { type AuditTarget, audit } from "./Audit.ts"
import { acceptedUploads, type Drain, drainedAlready, untilFinished, watchDrain } from "./Drain.ts"
import { allPathFigures, costsOf, type DrillFigures, perPath, timesOf } from "./Figures.ts"
import { type Ledger, makeLedger, readLedger } from "./Ledger.ts"
import { type Load, type LoadTarget, ratesOf, startLoad } from "./Load.ts"
import { type MemoryWatch, makeMemoryWatch, memoryFigures } from "./Memory.ts"
import { makeTally, type Path, type Phase, paths, type Tally } from "./Tally.ts"

export interface DrillOrder {
  readonly outage: PossibleOutage
  readonly seconds: number
  readonly perSecond: number
  readonly feeds: number
  readonly baseline: Duration.Duration
  /** Watched after the end of the fault, at least. */
  readonly recovery: Duration.Duration
  /** The desk's control socket. */
  readonly control: string
  readonly target: LoadTarget
  readonly auditTarget: AuditTarget
  readonly folder: string
  readonly commandLine: string
  /** Called every second. */
  readonly show: (now: DrillNow) => Effect.Effect<void>
}

export interface DrillNow {
  readonly outage: PossibleOutage
  readonly tally: Tally
  readonly phase: Phase
  readonly elapsedSeconds: number
  /** Of the phase; null: nobody knows. */
  readonly leftSeconds: number | null
  readonly processes: ReadonlyArray<{ readonly name: string; readonly phase: string; readonly pid: number | null }>
  readonly memory: MemoryWatch
  readonly unresolved: number
}

interface Stage {
  readonly order: DrillOrder
  readonly tally: Tally
  readonly ledger: Ledger
  readonly load: Load
  readonly memory: MemoryWatch
}

export const runDrill = (order: DrillOrder) =>
  Effect.gen(function* () {
    const startedAt = new Date(yield* Clock.currentTimeMillis).toISOString()
    const ledger = yield* makeLedger(join(order.folder, "ledger"))
    const tally = makeTally()
    const memory = makeMemoryWatch()
    const { feeds, perSecond, target } = order
    const load = yield* startLoad({ target, ledger, tally, rates: ratesOf(perSecond), feeds })
    const stage: Stage = { order, tally, ledger, load, memory }
    yield* Effect.forkScoped(showEachSecond(stage))
    yield* Effect.sleep(order.baseline)
    yield* checkHealthy(tally)
    const { acceptsAfterMs, firstError } = yield* breakAndHeal(stage)
    const filesCaughtUp = yield* watchFiles(stage)
    const drained = yield* recover(stage)
    return yield* conclude(stage, { startedAt, acceptsAfterMs, drained, firstError, filesCaughtUp })
  }).pipe(Effect.scoped)

/** Nothing is broken on purpose where something is broken already. */
const checkHealthy = (tally: Tally) => {
  const ill = paths.find((path) => {
    const { counts } = tally.cell(path, "healthy")
    return path !== "reactions" && counts.failed + counts.refused > (counts.live + counts.cached) / 4
  })
  return ill === undefined
    ? Effect.void
    : Effect.fail(
        refuse(
          `The desk is not well enough for a drill: ${ill} fail with ${[...tally.cell(ill, "healthy").errors.keys()].join(", ")}.`
        )
      )
}

/** How long the dependency took to accept again, and when each path first felt the fault. */
const breakAndHeal = ({ order, tally }: Stage) =>
  Effect.gen(function* () {
    const { control, outage, seconds } = order
    const request = { ...outage, seconds: seconds + Duration.toSeconds(Drill.outageMargin) }
    tally.enter("onset")
    yield* Effect.acquireRelease(askOutage(control, request), () => askHeal(control))
    const onset = Math.min(seconds, Duration.toSeconds(Drill.onset))
    yield* Effect.sleep(Duration.seconds(onset))
    tally.enter("fault")
    yield* Effect.sleep(Duration.seconds(seconds - onset))
    const healMs = tally.nowMs()
    yield* askHeal(control)
    yield* untilAccepting(order)
    const firstError = firstsOf(tally.firstUnanswered, faultMs(tally))
    tally.enter("recovery")
    return { acceptsAfterMs: Math.round(tally.nowMs() - healMs), firstError }
  }).pipe(Effect.scoped)

/** What the supervisor runs is back when it says so; a proxy passes at once. */
const untilAccepting = ({ control, outage }: DrillOrder) => {
  if (outage.means === "proxy") return Effect.void
  const name = outage.dependency === "postgres" ? postgresName : outage.dependency
  const isBack = Effect.map(askStates(control), (states) =>
    states.every((state) => !(state.name === name || state.name.startsWith(`${name}-`)) || state.phase === "ready")
  )
  return isBack.pipe(
    Effect.repeat({ until: (back) => back, schedule: Schedule.spaced("20 millis") }),
    Effect.timeoutOrElse({
      duration: Drill.acceptDeadline,
      orElse: () =>
        Effect.fail(refuse(`${name} did not come back within ${Duration.toSeconds(Drill.acceptDeadline)} s.`))
    })
  )
}

const recoveryFromMs = ({ marks }: Tally): number => marks.findLast(({ phase }) => phase === "recovery")?.fromMs ?? 0
const faultMs = ({ marks }: Tally): number => marks.find(({ phase }) => phase === "onset")?.fromMs ?? 0

const firstsOf = (first: (path: Path) => number | undefined, fromMs: number) =>
  perPath((path) => {
    const atMs = first(path)
    return atMs === undefined ? null : Math.max(0, Math.round(atMs - fromMs))
  })

/** From the moment at which it accepted again until all files that were uploaded before are released or rejected; null while they are not. */
const watchFiles = ({ ledger, order, tally }: Stage) =>
  Effect.gen(function* () {
    const fromMs = recoveryFromMs(tally)
    let caughtUpMs: number | null = null
    ledger.flush()
    const uploads = yield* acceptedUploads(readLedger(ledger.folder))
    yield* untilFinished(order.auditTarget, uploads).pipe(
      Effect.tap(() =>
        Effect.sync(() => {
          caughtUpMs = tally.nowMs() - fromMs
        })
      ),
      Effect.scoped,
      // Without an answer there is no time: the report says so, and the audit says why.
      Effect.ignore,
      Effect.forkScoped
    )
    return () => caughtUpMs
  })

/** The load goes on until everything works and the backlog is gone, or the time for that is over. */
const recover = ({ load, order, tally }: Stage) =>
  Effect.gen(function* () {
    const fromMs = recoveryFromMs(tally)
    let drained: Drain = drainedAlready
    const watching = watchDrain(order.auditTarget, load.feeds, { nowMs: tally.nowMs, fromMs }, (step) => {
      drained = { ...drained, ...step }
    })
    const drain = yield* Effect.forkScoped(Effect.ignore(watching))
    const works = Effect.sync(() =>
      paths.every(
        (path) => ["reactions", "uploads", "downloads"].includes(path) || tally.firstAnswered(path) !== undefined
      )
    ).pipe(Effect.repeat({ until: (all) => all, schedule: Schedule.spaced("50 millis") }))
    yield* Effect.all([Effect.sleep(order.recovery), works, Fiber.join(drain)], {
      concurrency: "unbounded",
      discard: true
    }).pipe(Effect.timeoutOption(Drill.recoveryWatch))
    return drained
  }).pipe(Effect.scoped)

interface Measured {
  readonly startedAt: string
  readonly acceptsAfterMs: number
  readonly drained: Drain
  readonly filesCaughtUp: () => number | null
  readonly firstError: DrillFigures["firstError"]
}

const conclude = (stage: Stage, measured: Measured) =>
  Effect.gen(function* () {
    const { ledger, load, memory, order, tally } = stage
    const firstSuccess = firstsOf(tally.firstAnswered, recoveryFromMs(tally))
    const endMs = tally.nowMs()
    yield* load.stop
    const settled = yield* load.settle(Drill.settleDeadline)
    yield* untilArrived(stage)
    for (const feed of load.feeds) feed.stop()
    ledger.flush()
    const after = Math.min(...load.feeds.map(({ terms }) => terms.after))
    const found = yield* audit(order.auditTarget, readLedger(ledger.folder), after)
    const [fromMs, toMs] = [faultMs(tally), recoveryFromMs(tally)]
    const seconds = { healthy: fromMs / 1000, outage: (toMs - fromMs) / 1000, recovery: (endMs - toMs) / 1000 }
    const figures = allPathFigures(tally)
    return {
      ...{ commandLine: order.commandLine, machine: machine(), perSecond: order.perSecond, seconds },
      ...{ ...order.outage, ...measured, firstSuccess, settled, paths: figures, audit: found },
      viewsCaughtUpMs: measured.drained.viewsMs,
      feedsCaughtUpMs: measured.drained.feedsMs,
      filesCaughtUpMs: measured.filesCaughtUp(),
      refusedLater: timesOf(tally.cell("commands", "fault").refused),
      awaited: load.awaited(),
      socketCuts: load.feeds.reduce((total, { cuts }) => total + cuts, 0),
      resyncs: load.feeds.reduce((total, { resyncs }) => total + resyncs, 0),
      ledger: ledger.counts,
      memory: memory.series.map((series) => memoryFigures(series, { fromMs, toMs })),
      memorySeries: memory.series,
      costs: costsOf(figures, (seconds.outage + seconds.recovery) / 60)
    } satisfies DrillFigures & { readonly drained: Drain }
  })

/** What was written last is given time to arrive: what is missing after that is missing. */
const untilArrived = ({ load, order, tally }: Stage) => {
  const seen = Effect.sync(() => load.awaited() === 0).pipe(
    Effect.repeat({ until: (none) => none, schedule: Schedule.spaced("100 millis") })
  )
  const drained = watchDrain(order.auditTarget, load.feeds, { nowMs: tally.nowMs, fromMs: 0 }, () => undefined)
  // Twice: files that are released meanwhile write more.
  return Effect.all([Effect.scoped(drained), seen], { concurrency: "unbounded", discard: true }).pipe(
    Effect.andThen(Effect.scoped(drained)),
    Effect.timeoutOption(Drill.arriveMax),
    // The audit tells what did not arrive.
    Effect.ignore
  )
}

const machine = (): string =>
  `${cpus().length} x ${cpus()[0]?.model.trim() ?? "processor"}, ${Math.round(totalmem() / 1024 ** 3)} GiB, ${process.platform}, Node ${process.version}, load average ${loadavg()[1]?.toFixed(1)}`

const showEachSecond = ({ ledger, memory, order, tally }: Stage) =>
  Effect.gen(function* () {
    const processes = yield* Effect.orElseSucceed(askStates(order.control), () => [])
    memory.sample(tally.nowMs(), processes)
    const mark = tally.marks.at(-1) ?? { phase: "healthy", fromMs: 0 }
    const inPhase = (tally.nowMs() - mark.fromMs) / 1000
    yield* order.show({
      ...{ outage: order.outage, tally, phase: mark.phase, memory, processes },
      elapsedSeconds: tally.nowMs() / 1000,
      leftSeconds: leftOf(order, mark.phase, inPhase),
      unresolved: ledger.counts.unresolved
    })
  }).pipe(
    Effect.catchCause((cause) => Effect.logWarning("the drill cannot be shown", cause)),
    Effect.repeat(Schedule.spaced(Drill.memoryInterval))
  )

const leftOf = ({ baseline, seconds }: DrillOrder, phase: Phase, inPhase: number): number | null => {
  if (phase === "recovery") return null
  const onset = phase === "fault" ? Duration.toSeconds(Drill.onset) : 0
  return Math.max(0, (phase === "healthy" ? Duration.toSeconds(baseline) : seconds - onset) - inPhase)
}
