// The breaker of one guard: when it opens, how long it rests and how it heals. Effect's breaker is the state machine, and it trips on the
// first failure that it is told of: what is too much is for the window to say, which sees every outcome and the time, and tells
// only the last straw. A synthetic probe, one at a time, asks whether the dependency is back while the circuit is open, and
// how it is while the circuit is closed and nothing has been heard for a while.
import { Cause, Clock, Context, Duration, Effect, Exit, Layer, Random, Semaphore, Stream } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { attempt, rejected, type Sending } from "./Attempt.ts"
import type { HealthBoard } from "./HealthBoard.ts"
import { backoff, keepRunning } from "./KeepRunning.ts"
import { makeTripWindow } from "./TripWindow.ts"
import { Unavailable } from "./Unavailable.ts"

/** How long an open circuit waits for its next probe: doubling from `min` to `max`, half of it by chance. */
export interface Rest {
  readonly min: Duration.Duration
  readonly max: Duration.Duration
}

/** Whether the dependency answers at all, held open for as long as that takes: what a probe gives up may stay in its queue. */
export interface Knock {
  readonly ask: Effect.Effect<void, Unavailable>
  readonly deadline: Duration.Duration
}

export interface Watch {
  /** Asked when nothing was heard for so long. */
  readonly quietMax: Duration.Duration
  /** For an adapter that holds something open which does not notice by itself. Called for each question that was not answered. */
  readonly onSilence?: (why: Unavailable) => Effect.Effect<void>
}

export interface CircuitOptions extends Sending {
  readonly rest: Rest
  readonly probe: Effect.Effect<unknown, unknown>
  readonly probeDeadline: Duration.Duration
  readonly knock: Knock | undefined
  readonly watch: Watch | undefined
}

export interface Circuit {
  /** Fails at once unless the circuit is closed. */
  readonly gate: Effect.Effect<void, Unavailable>
  /** A call; its outcome may open the circuit. */
  readonly send: <A, E, R>(
    self: Effect.Effect<A, E, R>,
    limit: Duration.Duration
  ) => Effect.Effect<A, E | Unavailable, R>
}

/** It heals, and watches, until the scope ends. */
export const makeCircuit = Effect.fnUntraced(function* (options: CircuitOptions, board: HealthBoard) {
  const key = options.dependency
  const breaker = yield* makeBreaker(options.rest)
  const judge = makeJudge(options, board, yield* Clock.Clock)
  const one = yield* Semaphore.make(1)
  const state = Effect.orDie(breaker.state(key))
  const execute = <A, E, R>(
    self: Effect.Effect<A, E, R>,
    classify: (exit: Exit.Exit<A, E>) => CircuitBreaker.Outcome | Effect.Effect<CircuitBreaker.Outcome>
  ) =>
    Effect.mapError(breaker.execute(self, { key, classify }), (error) =>
      error instanceof CircuitBreaker.CircuitBreakerError
        ? rejected(options, Duration.toMillis(options.rest.min))
        : error
    )
  const question = Effect.asVoid(attempt(options, options.probe, options.probeDeadline))
  const knocked =
    options.knock === undefined ? Effect.void : attempt(options, options.knock.ask, options.knock.deadline)
  const probe = one.withPermit(execute(Effect.andThen(knocked, question), judge.probe))
  const ask = one.withPermit(Effect.suspend(() => execute(question, judge.call(options.probeDeadline))))
  yield* prober(options, breaker, board, { state, probe })
  if (options.watch !== undefined) yield* watcher(options, options.watch, { state, ask, heardAtMs: judge.heardAtMs })
  return {
    gate: Effect.flatMap(state, (now) =>
      now._tag === "Closed" ? Effect.void : Effect.flatMap(Random.next, (chance) => refusal(options, now, chance))
    ),
    send: (self, limit) => Effect.suspend(() => execute(attempt(options, self, limit), judge.call(limit)))
  } satisfies Circuit
})

// Later than the probe that may close the circuit, and not everybody at once: callers who all came back in the moment that the rest ends
// would only be refused again, and answering them can starve the probe.
const refusal = (options: CircuitOptions, state: CircuitBreaker.State, chance: number) =>
  Effect.fail(rejected(options, retryAfterMsOf(options, state) + (1 + chance) * Duration.toMillis(options.rest.min)))

const retryAfterMsOf = ({ rest }: CircuitOptions, state: CircuitBreaker.State) =>
  Duration.toMillis(state._tag === "Open" ? state.retryAfter : rest.min)

// How long to stay open is told to the store: the breaker itself would replay a schedule from its beginning for every failed probe.
const makeBreaker = Effect.fnUntraced(function* (rest: Rest) {
  // A store of its own: a layer that exists once would be shared by all breakers of the process.
  const stores = yield* Layer.build(Layer.fresh(CircuitBreaker.layerStoreMemory()))
  const store = Context.get(stores, CircuitBreaker.CircuitBreakerStore)
  let openings = 0
  const backingOff = CircuitBreaker.CircuitBreakerStore.of({
    state: store.state,
    admit: (key) =>
      Effect.tap(store.admit(key), (admission) =>
        Effect.sync(() => {
          openings = admission.consecutiveOpenings
        })
      ),
    record: (outcome) =>
      outcome.outcome === "Failure"
        ? // Not all processes probe at the same moments.
          Effect.flatMap(backoff(openings, rest.min, rest.max), (openFor) => store.record({ ...outcome, openFor }))
        : store.record(outcome)
  })
  return yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1), openDuration: rest.min }).pipe(
    Effect.provideService(CircuitBreaker.CircuitBreakerStore, backingOff)
  )
})

/** What each outcome means to the window, to health and to the breaker. */
const makeJudge = (options: CircuitOptions, board: HealthBoard, clock: Clock.Clock) => {
  const window = makeTripWindow()
  // A call from before the circuit last closed says nothing about the dependency as it is now.
  let epoch = 0
  let heardAtMs = clock.currentTimeMillisUnsafe()
  const answered = (nowMs: number) => {
    heardAtMs = nowMs
    window.answered(nowMs)
    return board.isCalm() ? CircuitBreaker.success : Effect.as(board.answered, CircuitBreaker.success)
  }
  const failed = (nowMs: number, failure: Unavailable, limit: Duration.Duration) => {
    const isTimeout = failure.reason === "timeout" || failure.reason === "connect_timeout"
    const trips = window.failed(nowMs, isTimeout ? Duration.toMillis(limit) : null)
    return Effect.as(board.failed(failure.detail), trips ? CircuitBreaker.failure() : CircuitBreaker.ignored)
  }
  return {
    heardAtMs: () => heardAtMs,
    call: (limit: Duration.Duration) => {
      const began = epoch
      return (exit: Exit.Exit<unknown, unknown>) => {
        const told = toldBy(options, exit)
        if (told === "nothing" || began !== epoch) return CircuitBreaker.ignored
        const nowMs = clock.currentTimeMillisUnsafe()
        return told === "answer" ? answered(nowMs) : failed(nowMs, told, limit)
      }
    },
    /** Whatever way a probe fails, the dependency is not back. */
    probe: (exit: Exit.Exit<unknown, unknown>) => {
      const told = toldBy(options, exit)
      if (told === "nothing") return CircuitBreaker.failure()
      if (told !== "answer") return Effect.as(board.failed(told.detail), CircuitBreaker.failure())
      epoch++
      window.forget()
      return answered(clock.currentTimeMillisUnsafe())
    }
  }
}

/** A defect or an interruption says nothing about the dependency, nor does another's failure; a refusal says that it is up. */
const toldBy = (options: CircuitOptions, exit: Exit.Exit<unknown, unknown>): "answer" | "nothing" | Unavailable => {
  if (Exit.isSuccess(exit)) return "answer"
  const failed = exit.cause.reasons.find(Cause.isFailReason)?.error
  if (failed === undefined) return "nothing"
  if (!(failed instanceof Unavailable)) return "answer"
  const isOwn = failed.dependency === options.dependency
  return isOwn && failed.reason !== "breaker_open" && failed.reason !== "saturated" ? failed : "nothing"
}

interface Probing {
  readonly state: Effect.Effect<CircuitBreaker.State>
  readonly probe: Effect.Effect<void, unknown>
}

/** Heals the circuit after each opening. It listens before any call is made, for a transition is told only once. */
const prober = (
  options: CircuitOptions,
  breaker: CircuitBreaker.CircuitBreaker,
  board: HealthBoard,
  probing: Probing
) =>
  breaker.transitions.pipe(
    // Only fresh openings: a failed probe opens the circuit again, and the loop that sent the probe knows.
    Stream.filter((transition) => transition.from === "Closed" && transition.to === "Open"),
    Stream.runForEach(() => heal(options, board, probing)),
    Effect.tapCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        : Effect.logError(`the prober of ${options.dependency} has stopped`, cause)
    ),
    Effect.forkScoped({ startImmediately: true })
  )

const heal = Effect.fnUntraced(function* (options: CircuitOptions, board: HealthBoard, probing: Probing) {
  yield* board.opened
  yield* probeUntilClosed(options, probing)
  yield* board.closed
})

// Asks the breaker again after every sleep: timers may fire early.
const probeUntilClosed = Effect.fnUntraced(function* (options: CircuitOptions, { probe, state }: Probing) {
  for (let now = yield* state; now._tag !== "Closed"; now = yield* state) {
    yield* Effect.sleep(Duration.millis(Math.max(1, retryAfterMsOf(options, now))))
    yield* probe.pipe(
      Effect.tapDefect((defect) => Effect.logWarning(`the probe of ${options.dependency} is broken`, defect)),
      Effect.exit
    )
  }
})

interface Watching {
  readonly state: Effect.Effect<CircuitBreaker.State>
  readonly ask: Effect.Effect<void, unknown>
  readonly heardAtMs: () => number
}

const watcher = (options: CircuitOptions, { onSilence, quietMax }: Watch, { ask, heardAtMs, state }: Watching) => {
  const tell = (error: unknown) =>
    onSilence !== undefined && error instanceof Unavailable && error.reason !== "breaker_open"
      ? onSilence(error)
      : Effect.void
  const once = Effect.gen(function* () {
    const quietMs = (yield* Clock.currentTimeMillis) - heardAtMs()
    const leftMs = Duration.toMillis(quietMax) - quietMs
    if (leftMs > 0) return yield* Effect.sleep(Duration.millis(leftMs))
    // While it is open the prober asks.
    if ((yield* state)._tag === "Closed") yield* Effect.catch(ask, tell)
    yield* Effect.sleep(quietMax)
  })
  return Effect.forkScoped(keepRunning(`watching ${options.dependency}`, Effect.forever(once)))
}
