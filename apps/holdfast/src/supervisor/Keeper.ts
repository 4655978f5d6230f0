// Keeps one process running: starts it, notices when it ends and when it hangs, and starts it again after a growing wait. It promises
// that at most one copy runs, that a hung one is killed before the next starts, and that nothing is left after `stop`.
import { open } from "node:fs/promises"
import { backoff } from "@holdfast/resilience/KeepRunning"
import { Supervisor } from "@holdfast/resilience/Limits"
import { Cause, Clock, Deferred, Duration, Effect, Fiber, Latch, Ref, Schedule } from "effect"
import { type Refusal, refuse } from "../Refusal.ts"

/** One running copy, whatever it is made of. */
export interface Running {
  readonly pid: number
  /** Succeeds with how, once it has ended. */
  readonly ended: Effect.Effect<string>
  readonly answers: Effect.Effect<boolean>
  /** In order, then by force, within its own deadline. */
  readonly stop: Effect.Effect<void>
  readonly kill: Effect.Effect<void>
}

export interface Plan<R extends Running> {
  readonly name: string
  readonly start: Effect.Effect<R, { readonly sentence: string }>
  /** Where to read why it ended. */
  readonly logFile: string
}

export type Phase = "starting" | "ready" | "held" | "restarting" | "stopped"

export interface KeptState {
  readonly name: string
  readonly phase: Phase
  readonly pid: number | null
  readonly restarts: number
  readonly sinceMs: number
  /** Why it is not ready, or why it was last started again. */
  readonly detail: string | null
}

export interface Keeper<R extends Running> {
  readonly state: Effect.Effect<KeptState>
  /** Fails when it keeps ending without ever having answered. */
  readonly firstReady: Effect.Effect<void, Refusal>
  /** Does this to the running copy and starts no other until `release`. */
  readonly hold: (why: string, action: (running: R) => Effect.Effect<void>) => Effect.Effect<void>
  readonly release: (action: (running: R) => Effect.Effect<void>) => Effect.Effect<void>
  readonly stop: Effect.Effect<void>
}

export const keep = Effect.fnUntraced(function* <R extends Running>(plan: Plan<R>) {
  const state = yield* Ref.make<KeptState>({
    name: plan.name,
    phase: "starting",
    pid: null,
    restarts: 0,
    sinceMs: yield* Clock.currentTimeMillis,
    detail: null
  })
  const kept: Kept<R> = {
    plan,
    state,
    current: yield* Ref.make<R | undefined>(undefined),
    gate: yield* Latch.make(true),
    firstReady: yield* Deferred.make<void, Refusal>()
  }
  const fiber = yield* Effect.forkDetach(supervise(kept))
  const stop = Effect.gen(function* () {
    yield* Fiber.interrupt(fiber)
    const running = yield* Ref.get(kept.current)
    if (running !== undefined) yield* running.stop
    yield* enter(kept, { phase: "stopped", pid: null, detail: null })
  })
  return {
    state: Ref.get(state),
    firstReady: Deferred.await(kept.firstReady),
    hold: (why, action) => hold(kept, why, action),
    release: (action) => release(kept, action),
    stop
  } satisfies Keeper<R>
})

interface Kept<R extends Running> {
  readonly plan: Plan<R>
  readonly state: Ref.Ref<KeptState>
  readonly current: Ref.Ref<R | undefined>
  /** Closed while held: nothing is started. */
  readonly gate: Latch.Latch
  readonly firstReady: Deferred.Deferred<void, Refusal>
}

const enter = <R extends Running>(kept: Kept<R>, change: Partial<KeptState>) =>
  Effect.flatMap(Clock.currentTimeMillis, (sinceMs) =>
    Ref.update(kept.state, (state) => ({ ...state, sinceMs, ...change }))
  )

/** For ever: one life after another. A bug in here must be seen, not end the watch in silence. */
const supervise = <R extends Running>(kept: Kept<R>) =>
  Effect.gen(function* () {
    let endsInARow = 0
    while (true) {
      yield* kept.gate.await
      const begunMs = yield* Clock.currentTimeMillis
      const why = yield* liveOnce(kept)
      const lastedMs = (yield* Clock.currentTimeMillis) - begunMs
      endsInARow = lastedMs > Duration.toMillis(Supervisor.backoffForgets) ? 1 : endsInARow + 1
      yield* giveUpWhenHopeless(kept, endsInARow, why)
      yield* Ref.update(kept.state, (state) => ({ ...state, restarts: state.restarts + 1 }))
      if ((yield* Ref.get(kept.state)).phase === "held") continue
      yield* enter(kept, { phase: "restarting", pid: null, detail: why })
      yield* Effect.sleep(yield* backoff(endsInARow - 1, Supervisor.backoffMin, Supervisor.backoffMax))
    }
  }).pipe(
    Effect.tapCause((cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError(`the watch over ${kept.plan.name} failed`, cause)
    )
  )

/** One life of the process; the answer is how it ended. */
const liveOnce = <R extends Running>(kept: Kept<R>): Effect.Effect<string> =>
  Effect.gen(function* () {
    const running = yield* start(kept)
    yield* enter(kept, { phase: "starting", pid: running.pid })
    const why = yield* Effect.raceFirst(
      Effect.map(running.ended, (how) => `it ended with ${how}`),
      untilHung(kept, running)
    )
    yield* running.kill
    yield* Ref.set(kept.current, undefined)
    return why
  }).pipe(Effect.catch(({ sentence }) => Effect.succeed(sentence)))

/** Started and remembered in one step: an interruption between the two would leave it to nobody. */
const start = <R extends Running>(kept: Kept<R>) =>
  Effect.uninterruptible(Effect.tap(kept.plan.start, (running) => Ref.set(kept.current, running)))

const untilHung = <R extends Running>(kept: Kept<R>, running: R): Effect.Effect<string> =>
  Effect.gen(function* () {
    const answered = yield* running.answers.pipe(
      Effect.repeat({ until: (yes) => yes, schedule: Schedule.spaced("100 millis") }),
      Effect.timeoutOrElse({ duration: Supervisor.startDeadline, orElse: () => Effect.succeed(false) })
    )
    if (!answered) return `it did not answer within ${Duration.toSeconds(Supervisor.startDeadline)} s`
    yield* enter(kept, { phase: "ready" })
    yield* Deferred.succeed(kept.firstReady, undefined)
    let misses = 0
    while (misses < Supervisor.pollMissesMax) {
      yield* Effect.sleep(Supervisor.pollInterval)
      misses = (yield* isHeld(kept)) || (yield* running.answers) ? 0 : misses + 1
    }
    return "it hung: it was running and did not answer"
  })

const isHeld = <R extends Running>(kept: Kept<R>) => Effect.map(Ref.get(kept.state), ({ phase }) => phase === "held")

const giveUpWhenHopeless = <R extends Running>(kept: Kept<R>, endsInARow: number, why: string) =>
  endsInARow < Supervisor.startAttemptsMax
    ? Effect.void
    : Effect.flatMap(endOfLog(kept.plan.logFile), (end) =>
        Deferred.fail(
          kept.firstReady,
          refuse(`${kept.plan.name} does not start: ${why}. The end of ${kept.plan.logFile}:\n${end}`)
        )
      )

/** Of the last few KiB: a log may be large. */
const endOfLog = (file: string) =>
  Effect.tryPromise(async () => {
    const handle = await open(file, "r")
    try {
      const { size } = await handle.stat()
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(4096), 0, 4096, Math.max(0, size - 4096))
      const lines = buffer.toString("utf8", 0, bytesRead).trimEnd().split("\n").slice(-5)
      return lines.map((line) => `  ${line.slice(0, 300)}`).join("\n")
    } finally {
      await handle.close()
    }
  }).pipe(Effect.orElseSucceed(() => "  (it cannot be read)"))

const hold = <R extends Running>(kept: Kept<R>, why: string, action: (running: R) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    yield* kept.gate.close
    yield* enter(kept, { phase: "held", detail: why })
    const running = yield* Ref.get(kept.current)
    if (running !== undefined) yield* action(running)
  })

const release = <R extends Running>(kept: Kept<R>, action: (running: R) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    const running = yield* Ref.get(kept.current)
    if (running !== undefined) yield* action(running)
    yield* enter(kept, { phase: running === undefined ? "starting" : "ready", detail: null })
    yield* kept.gate.open
  })
