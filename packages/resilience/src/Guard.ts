// The one way to call an outside dependency: a bound on calls under way, a deadline, and two circuit breakers, one for a bad ratio of
// failures and one for timeouts in a row. While a breaker is open nothing is sent and the caller is refused at once; a synthetic
// probe, never a user's call, finds out when the dependency is back. Refusals by a dependency that is up count as success. Breaker
// state is kept in memory. (Pattern: Nygard, "Release It!", 2nd edition, "Circuit Breaker" and "Bulkheads".)
import { Cause, Context, Duration, Effect, Exit, Layer, Option, Random, Scope, Semaphore, Stream } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { deadline } from "./Deadline.ts"
import type { FailureDomain } from "./FailureDomain.ts"
import { type DependencyState, Health } from "./Health.ts"
import { Breaker } from "./Limits.ts"
import { Unavailable, type UnavailableReason } from "./Unavailable.ts"

export interface Failure {
  readonly reason: UnavailableReason
  /** For operators; never carries secrets or personal data. */
  readonly detail: string
}

export interface GuardOptions {
  readonly dependency: FailureDomain
  /** Each call. Inside the breakers, so that a timeout counts. */
  readonly deadline: Duration.Duration
  /** Calls under way at once: a bulkhead, so that a slow dependency holds no more than this. */
  readonly concurrencyMax: number
  /** How long a call may wait for its turn. */
  readonly acquireDeadline: Duration.Duration
  /** A cheap, harmless call that shows whether the dependency answers. */
  readonly probe: Effect.Effect<unknown, unknown>
  /** What a driver's error means: unavailable and why, or null for a refusal, which passes through. */
  readonly toFailure: (error: unknown) => Failure | null
}

export interface Guard {
  /** Fails with `Unavailable` when the dependency is away; any other error is the call's own. */
  call<A, E, R>(
    self: Effect.Effect<A, E, R>,
    options?: { readonly deadline?: Duration.Duration }
  ): Effect.Effect<A, E | Unavailable, R>
}

export const makeGuard = Effect.fnUntraced(function* (options: GuardOptions) {
  const board = yield* makeBoard(options.dependency)
  const permits = yield* Semaphore.make(options.concurrencyMax)
  const ratio = yield* makeCircuit(options, board, {
    name: "ratio",
    tripPolicy: CircuitBreaker.rate({
      threshold: Breaker.failureRatio,
      size: Breaker.windowCalls,
      minimumCalls: Breaker.minimumCalls
    }),
    counts: () => true
  })
  const timeouts = yield* makeCircuit(options, board, {
    name: "timeouts",
    tripPolicy: CircuitBreaker.consecutive(Breaker.consecutiveTimeouts),
    counts: (failed) => failed.reason === "timeout" || failed.reason === "connect_timeout"
  })
  const gates = Effect.andThen(ratio.gate, timeouts.gate)
  // The gates stand before the wait for a turn, to refuse at once, and again after it if there was one: a call that waited while the
  // breaker opened and its rest ended would otherwise be the probe.
  const call: Guard["call"] = (self, callOptions) =>
    attempt(options, self, callOptions?.deadline ?? options.deadline).pipe(
      timeouts.watch,
      ratio.watch,
      Effect.tap(() => board.observed("up", null)),
      Effect.tapError((error) => (isFailure(options, error) ? board.observed("degraded", error.detail) : Effect.void)),
      (watched) => withPermit(options, permits, watched, Effect.andThen(gates, watched)),
      (admitted) => Effect.andThen(gates, admitted)
    )
  return { call } satisfies Guard
})

interface Board {
  /** A call's outcome. An open circuit overrules it: what was sent before it opened may still succeed. */
  observed(state: "up" | "degraded", detail: string | null): Effect.Effect<void>
  opened(circuit: string): Effect.Effect<void>
  closed(circuit: string): Effect.Effect<void>
}

/** Health as this guard sees it: down while either circuit is open. Reported only when it changes. */
const makeBoard = Effect.fnUntraced(function* (dependency: FailureDomain) {
  const health = yield* Health
  const open = new Set<string>()
  let known: DependencyState = "up"
  let lastFailure: string | null = null
  const say = (state: DependencyState, detail: string | null) =>
    Effect.suspend(() => {
      if (known === state) return Effect.void
      known = state
      const told = Effect.annotateLogs({ dependency, detail: detail ?? "" })
      const log =
        state === "down" ? Effect.logWarning(`${dependency} is down`) : Effect.logInfo(`${dependency} is ${state}`)
      return Effect.andThen(health.report(dependency, state, detail), told(log))
    })
  yield* health.report(dependency, "up", null)
  return {
    observed: (state, detail) =>
      Effect.suspend(() => {
        if (detail !== null) lastFailure = detail
        return open.size > 0 ? Effect.void : say(state, detail)
      }),
    opened: (circuit) =>
      Effect.suspend(() => {
        open.add(circuit)
        return say("down", lastFailure)
      }),
    closed: (circuit) =>
      Effect.suspend(() => {
        open.delete(circuit)
        return open.size > 0 ? Effect.void : say("up", null)
      })
  } satisfies Board
})

/** Counts against the dependency: its own failure, not another's and not a refusal by this guard. */
const isFailure = (options: GuardOptions, error: unknown): error is Unavailable =>
  error instanceof Unavailable &&
  error.dependency === options.dependency &&
  error.reason !== "breaker_open" &&
  error.reason !== "saturated"

const unavailable = (options: GuardOptions, { detail, reason }: Failure, retryAfterMs: number) =>
  new Unavailable({
    dependency: options.dependency,
    reason,
    detail,
    retryAfterMs: Math.max(0, Math.ceil(retryAfterMs))
  })

const retryAfterMsDefault = Duration.toMillis(Breaker.openMin)

const attempt = <A, E, R>(
  options: GuardOptions,
  self: Effect.Effect<A, E, R>,
  limit: Duration.Duration
): Effect.Effect<A, E | Unavailable, R> =>
  Effect.mapError(deadline(limit)(self), (error) => {
    if (Cause.isTimeoutError(error)) {
      const detail = `no answer within ${Duration.toMillis(limit)} ms`
      return unavailable(options, { reason: "timeout", detail }, retryAfterMsDefault)
    }
    const failure = error instanceof Unavailable ? null : options.toFailure(error)
    return failure === null ? error : unavailable(options, failure, retryAfterMsDefault)
  })

/** At once when there is a permit, and then without a timer; else in its turn. */
const withPermit = <A, E, R>(
  options: GuardOptions,
  permits: Semaphore.Semaphore,
  atOnce: Effect.Effect<A, E, R>,
  afterWaiting: Effect.Effect<A, E, R>
): Effect.Effect<A, E | Unavailable, R> =>
  Effect.flatMap(permits.withPermitsIfAvailable(1)(atOnce), (done) =>
    Option.isSome(done) ? Effect.succeed(done.value) : inTurn(options, permits)(afterWaiting)
  )

// The permit belongs to a scope from the moment it is taken, so that neither the deadline nor an interruption can lose it.
const inTurn =
  (options: GuardOptions, permits: Semaphore.Semaphore) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Unavailable, R> =>
    Effect.scopedWith((scope) =>
      permits
        .takeScoped(1)
        .pipe(
          Scope.provide(scope),
          Effect.timeoutOrElse({ duration: options.acquireDeadline, orElse: () => Effect.fail(saturated(options)) }),
          Effect.andThen(self)
        )
    )

const saturated = (options: GuardOptions) =>
  unavailable(
    options,
    { reason: "saturated", detail: `${options.concurrencyMax} calls are under way` },
    Duration.toMillis(options.acquireDeadline)
  )

interface CircuitOptions {
  readonly name: string
  readonly tripPolicy: CircuitBreaker.TripPolicy
  readonly counts: (failed: Unavailable) => boolean
}

interface Circuit {
  /** Fails at once unless the circuit is closed. */
  readonly gate: Effect.Effect<void, Unavailable>
  readonly watch: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Unavailable, R>
}

const makeCircuit = Effect.fnUntraced(function* (options: GuardOptions, board: Board, circuit: CircuitOptions) {
  const key = options.dependency
  const breaker = yield* makeBreaker(circuit.tripPolicy)
  const watching =
    (counts: CircuitOptions["counts"]): Circuit["watch"] =>
    (self) =>
      Effect.mapError(breaker.execute(self, { key, classify: classifier(options, counts) }), (error) =>
        error instanceof CircuitBreaker.CircuitBreakerError ? rejected(options, retryAfterMsDefault) : error
      )
  const gate = Effect.flatMap(Effect.orDie(breaker.state(key)), (state) =>
    state._tag === "Closed" ? Effect.void : Effect.fail(rejected(options, retryAfterMsOf(state)))
  )
  // Whatever way a probe fails, the dependency is not back.
  const probe = watching(() => true)(attempt(options, options.probe, options.deadline))
  yield* prober(breaker, circuit.name, board, options, probe)
  return { gate, watch: watching(circuit.counts) } satisfies Circuit
})

// The breaker would replay a schedule of open times for every answered call of a ratio, which costs as much as the rest of the guard.
// So its store is told here how long to stay open: twice as long each time it opens again, up to a bound.
const makeBreaker = Effect.fnUntraced(function* (tripPolicy: CircuitBreaker.TripPolicy) {
  // A store of its own: a layer that exists once would be shared by all breakers of the process.
  const stores = yield* Layer.build(Layer.fresh(CircuitBreaker.layerStoreMemory()))
  const store = Context.get(stores, CircuitBreaker.CircuitBreakerStore)
  // Not all processes probe at the same moments.
  const jitter = yield* Random.nextBetween(0.8, 1.2)
  let openings = 0
  const backingOff = CircuitBreaker.CircuitBreakerStore.of({
    state: store.state,
    admit: (key) =>
      Effect.tap(store.admit(key), (admission) =>
        Effect.sync(() => {
          openings = admission.consecutiveOpenings
        })
      ),
    record: (outcome) => store.record({ ...outcome, openFor: Duration.times(openFor(openings), jitter) })
  })
  return yield* CircuitBreaker.make({ tripPolicy, openDuration: Breaker.openMin }).pipe(
    Effect.provideService(CircuitBreaker.CircuitBreakerStore, backingOff)
  )
})

const openFor = (openings: number): Duration.Duration =>
  Duration.min(Duration.times(Breaker.openMin, 2 ** Math.min(openings, 10)), Breaker.openMax)

const rejected = (options: GuardOptions, retryAfterMs: number) =>
  unavailable(
    options,
    { reason: "breaker_open", detail: "it has been failing and is given a rest" },
    Math.max(1, retryAfterMs)
  )

const retryAfterMsOf = (state: CircuitBreaker.State) =>
  state._tag === "Open" ? Duration.toMillis(state.retryAfter) : retryAfterMsDefault

/** A defect or an interruption says nothing about the dependency; a refusal says that it is up. */
const classifier = (options: GuardOptions, counts: CircuitOptions["counts"]) => (exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit)) return CircuitBreaker.success
  const failed = exit.cause.reasons.find(Cause.isFailReason)?.error
  if (failed === undefined) return CircuitBreaker.ignored
  if (!(failed instanceof Unavailable)) return CircuitBreaker.success
  return isFailure(options, failed) && counts(failed) ? CircuitBreaker.failure() : CircuitBreaker.ignored
}

/** Heals the circuit after each opening. It listens before any call is made, for a transition is told only once. */
const prober = (
  breaker: CircuitBreaker.CircuitBreaker,
  circuit: string,
  board: Board,
  options: GuardOptions,
  probe: Effect.Effect<unknown, unknown>
) =>
  breaker.transitions.pipe(
    // Only fresh openings: a failed probe opens the circuit again, and the loop that sent the probe knows.
    Stream.filter((transition) => transition.from === "Closed" && transition.to === "Open"),
    Stream.runForEach(() =>
      board
        .opened(circuit)
        .pipe(Effect.andThen(probeUntilClosed(breaker, options, probe)), Effect.andThen(board.closed(circuit)))
    ),
    Effect.tapCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        : Effect.logError(`the prober of ${options.dependency} has stopped`, cause)
    ),
    Effect.forkScoped({ startImmediately: true })
  )

// Asks the breaker again after every sleep: timers may fire early, and a probe that ends in a defect leaves it half open.
const probeUntilClosed = Effect.fnUntraced(function* (
  breaker: CircuitBreaker.CircuitBreaker,
  { dependency }: GuardOptions,
  probe: Effect.Effect<unknown, unknown>
) {
  while (true) {
    const state = yield* Effect.orDie(breaker.state(dependency))
    if (state._tag === "Closed") return
    yield* Effect.sleep(Duration.millis(Math.max(1, retryAfterMsOf(state))))
    yield* probe.pipe(
      Effect.tapDefect((defect) => Effect.logWarning(`the probe of ${dependency} is broken`, defect)),
      Effect.exit
    )
  }
})
