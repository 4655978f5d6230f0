// Keeps one copy of a process running: starts it, notices when it ends and when it hangs, and starts it again after a growing wait. It
// promises that a hung one is killed before the next starts, that one which is replaced goes only when its successor is ready, and that
// nothing is left after `stop`.
import { open } from "node:fs/promises"
import { backoff } from "@holdfast/resilience/KeepRunning"
import { Supervisor } from "@holdfast/resilience/Limits"
import { Cause, Clock, Deferred, Duration, Effect, Fiber, Latch, Queue, Ref, Schedule, Semaphore } from "effect"
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
  /** Where this copy alone is asked how it is. */
  readonly addressOf?: (running: R) => string
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
  readonly address: string | null
}

/** How a successor is judged and its predecessor sent away. */
export interface Replacing<R> {
  readonly whyNotReady: (running: R) => Effect.Effect<string | null>
  readonly leave: (running: R) => Effect.Effect<void>
}

export interface Keeper<R extends Running> {
  readonly state: Effect.Effect<KeptState>
  /** Fails when it keeps ending without ever having answered. */
  readonly firstReady: Effect.Effect<void, Refusal>
  /** Does this to the running copy and starts no other until `release`. */
  readonly hold: (why: string, action: (running: R) => Effect.Effect<void>) => Effect.Effect<void>
  readonly release: (action: (running: R) => Effect.Effect<void>) => Effect.Effect<void>
  /**
   * Starts another beside it, and succeeds once that is ready and has taken over; the answer is to be waited for until the former has
   * left. Refused, with everything as it was, when the other does not become ready.
   */
  readonly replace: (how: Replacing<R>) => Effect.Effect<Effect.Effect<void>, Refusal>
  readonly stop: Effect.Effect<void>
}

export const keep = Effect.fnUntraced(function* <R extends Running>(plan: Plan<R>) {
  const state = yield* Ref.make<KeptState>({
    name: plan.name,
    phase: "starting",
    pid: null,
    restarts: 0,
    sinceMs: yield* Clock.currentTimeMillis,
    detail: null,
    address: null
  })
  const kept: Kept<R> = {
    plan,
    state,
    current: yield* Ref.make<R | undefined>(undefined),
    beside: new Set(),
    successors: yield* Queue.unbounded<Succession<R>>(),
    replacing: yield* Semaphore.make(1),
    gate: yield* Latch.make(true),
    firstReady: yield* Deferred.make<void, Refusal>()
  }
  const fiber = yield* Effect.forkDetach(supervise(kept))
  const stop = Effect.gen(function* () {
    yield* Fiber.interrupt(fiber)
    const running = yield* Ref.get(kept.current)
    const all = running === undefined ? [...kept.beside] : [running, ...kept.beside]
    yield* Effect.forEach(all, (one) => one.stop, { concurrency: "unbounded", discard: true })
    yield* enter(kept, { phase: "stopped", pid: null, detail: null, address: null })
  })
  return {
    state: Ref.get(state),
    firstReady: Deferred.await(kept.firstReady),
    hold: (why, action) => hold(kept, why, action),
    release: (action) => release(kept, action),
    replace: (how) => kept.replacing.withPermit(replace(kept, how)),
    stop
  } satisfies Keeper<R>
})

interface Kept<R extends Running> {
  readonly plan: Plan<R>
  readonly state: Ref.Ref<KeptState>
  readonly current: Ref.Ref<R | undefined>
  /** Those that come and those that go while another is the current one. */
  readonly beside: Set<R>
  readonly successors: Queue.Queue<Succession<R>>
  readonly replacing: Semaphore.Semaphore
  /** Closed while held: nothing is started. */
  readonly gate: Latch.Latch
  readonly firstReady: Deferred.Deferred<void, Refusal>
}

/** A running copy that takes over, and where to say whom it took over from. */
interface Succession<R> {
  readonly by: R
  readonly from: Deferred.Deferred<R>
}

const enter = <R extends Running>(kept: Kept<R>, change: Partial<KeptState>) =>
  Effect.flatMap(Clock.currentTimeMillis, (sinceMs) =>
    Ref.update(kept.state, (state) => ({ ...state, sinceMs, ...change }))
  )

/** For ever: one life after another. A bug in here must be seen, not end the watch in silence. */
const supervise = <R extends Running>(kept: Kept<R>) =>
  Effect.gen(function* () {
    let endsInARow = 0
    let next: R | undefined
    while (true) {
      yield* kept.gate.await
      const begunMs = yield* Clock.currentTimeMillis
      const end = yield* liveOnce(kept, next)
      next = end.successor
      if (next !== undefined) endsInARow = 0
      if (next !== undefined) continue
      const lastedMs = (yield* Clock.currentTimeMillis) - begunMs
      endsInARow = lastedMs > Duration.toMillis(Supervisor.backoffForgets) ? 1 : endsInARow + 1
      yield* giveUpWhenHopeless(kept, endsInARow, end.why)
      const lastWords =
        lastedMs < Duration.toMillis(Supervisor.backoffForgets) ? yield* lastLine(kept.plan.logFile) : ""
      const { phase, restarts } = yield* Ref.get(kept.state)
      const whyDown = phase === "held" ? {} : ({ phase: "restarting", detail: `${end.why}${lastWords}` } as const)
      yield* enter(kept, { restarts: restarts + 1, pid: null, address: null, ...whyDown })
      if (phase === "held") continue
      yield* Effect.sleep(yield* backoff(endsInARow - 1, Supervisor.backoffMin, Supervisor.backoffMax))
    }
  }).pipe(
    Effect.tapCause((cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError(`the watch over ${kept.plan.name} failed`, cause)
    )
  )

interface End<R> {
  readonly why: string
  /** Runs already. */
  readonly successor: R | undefined
}

/** One life of the process, from its start or from the moment at which it took over; the answer is how it ended. */
const liveOnce = <R extends Running>(kept: Kept<R>, given: R | undefined): Effect.Effect<End<R>> =>
  Effect.gen(function* () {
    const running = given ?? (yield* start(kept))
    const address = kept.plan.addressOf?.(running) ?? null
    yield* enter(kept, { phase: given === undefined ? "starting" : "ready", pid: running.pid, address })
    const end = yield* Effect.raceFirst(
      Effect.raceFirst(
        Effect.map(running.ended, (how) => `it ended with ${how}`),
        untilHung(kept, running)
      ),
      Queue.take(kept.successors)
    )
    if (typeof end !== "string") return yield* succeedBy(kept, running, end)
    yield* running.kill
    yield* Ref.set(kept.current, undefined)
    return { why: end, successor: undefined }
  }).pipe(Effect.catch(({ sentence }) => Effect.succeed({ why: sentence, successor: undefined })))

/** The two change places in one step, so that each is always in somebody's keeping. */
const succeedBy = <R extends Running>(kept: Kept<R>, former: R, { by, from }: Succession<R>) =>
  Effect.gen(function* () {
    kept.beside.delete(by)
    kept.beside.add(former)
    yield* Ref.set(kept.current, by)
    yield* Deferred.succeed(from, former)
    return { why: "it was replaced", successor: by }
  }).pipe(Effect.uninterruptible)

const replace = <R extends Running>(kept: Kept<R>, how: Replacing<R>) =>
  Effect.gen(function* () {
    const { detail, phase } = yield* Ref.get(kept.state)
    if (phase !== "ready") return yield* refuse(`${kept.plan.name} is ${phase}${detail === null ? "" : `: ${detail}`}`)
    const successor = yield* startBeside(kept)
    yield* Effect.onError(judge(kept, how, successor), () => dismiss(kept, successor, successor.kill))
    const from = yield* Deferred.make<R>()
    yield* Queue.offer(kept.successors, { by: successor, from })
    const former = yield* Deferred.await(from)
    return Fiber.join(yield* Effect.forkDetach(dismiss(kept, former, how.leave(former)), { startImmediately: true }))
  })

const startBeside = <R extends Running>(kept: Kept<R>) =>
  Effect.uninterruptible(Effect.tap(kept.plan.start, (running) => Effect.sync(() => kept.beside.add(running)))).pipe(
    Effect.mapError(({ sentence }) => refuse(sentence))
  )

const dismiss = <R extends Running>(kept: Kept<R>, one: R, by: Effect.Effect<void>) =>
  Effect.ensuring(
    by,
    Effect.sync(() => kept.beside.delete(one))
  )

/** Fails with why it is no successor. */
const judge = <R extends Running>(kept: Kept<R>, { whyNotReady }: Replacing<R>, successor: R) =>
  Effect.gen(function* () {
    let why: string | null = "it does not answer"
    const look = Effect.tap(whyNotReady(successor), (told) =>
      Effect.sync(() => {
        why = told
      })
    )
    const waited = look.pipe(
      Effect.repeat({ until: (told) => told === null, schedule: Schedule.spaced("100 millis") }),
      Effect.timeoutOption(Supervisor.replaceDeadline)
    )
    const ended = Effect.map(successor.ended, (one) => {
      why = `it ended with ${one}`
    })
    yield* Effect.raceFirst(ended, waited)
    if (why === null) return
    const end = yield* endOfLog(kept.plan.logFile)
    return yield* refuse(`The new ${kept.plan.name} is not ready: ${why}. The end of ${kept.plan.logFile}:\n${end}`)
  })

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

/** Its last words, where it did not live long. */
const lastLine = (file: string) =>
  Effect.map(linesOf(file), (lines) => {
    const last = lines.at(-1)?.trim() ?? ""
    return last === "" ? "" : `; its last words: ${last}`
  })

const endOfLog = (file: string) => Effect.map(linesOf(file), (lines) => lines.join("\n"))

/** Of the last few KiB: a log may be large. */
const linesOf = (file: string) =>
  Effect.tryPromise(async () => {
    const handle = await open(file, "r")
    try {
      const { size } = await handle.stat()
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(4096), 0, 4096, Math.max(0, size - 4096))
      const lines = buffer.toString("utf8", 0, bytesRead).trimEnd().split("\n").slice(-5)
      return lines.map((line) => `  ${line.slice(0, 300)}`)
    } finally {
      await handle.close()
    }
  }).pipe(Effect.orElseSucceed(() => ["  (it cannot be read)"]))

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
