// The one way to call an outside dependency: a bound on calls under way, a deadline, and two circuit breakers, one for a bad ratio of
// failures and one for timeouts in a row. While a breaker is open nothing is sent and the caller is refused at once; a synthetic
// probe, never a user's call, finds out when the dependency is back. Refusals by a dependency that is up count as success. Breaker
// state is kept in memory. (Pattern: Nygard, "Release It!", 2nd edition, "Circuit Breaker" and "Bulkheads".)
import { Cause, Duration, Effect, Exit, Schedule, Semaphore, Stream } from "effect"
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

type Report = (state: DependencyState, detail: string | null) => Effect.Effect<void>

export const makeGuard = Effect.fnUntraced(function* (options: GuardOptions) {
  const report = yield* makeReport(options.dependency)
  const permits = yield* Semaphore.make(options.concurrencyMax)
  const probe = attempt(options, options.probe, options.deadline)
  const byRatio = CircuitBreaker.rate({
    threshold: Breaker.failureRatio,
    size: Breaker.windowCalls,
    minimumCalls: Breaker.minimumCalls
  })
  const ratio = yield* makeCircuit(options, byRatio, () => true, probe, report)
  const timeouts = yield* makeCircuit(
    options,
    CircuitBreaker.consecutive(Breaker.consecutiveTimeouts),
    (error) => error.reason === "timeout",
    probe,
    report
  )
  const call: Guard["call"] = (self, callOptions) =>
    attempt(options, self, callOptions?.deadline ?? options.deadline).pipe(
      timeouts.watch,
      ratio.watch,
      withPermit(options, permits),
      Effect.tap(() => report("up", null)),
      Effect.tapError((error) => (isDegrading(error) ? report("degraded", error.detail) : Effect.void)),
      (guarded) => Effect.andThen(ratio.gate, Effect.andThen(timeouts.gate, guarded))
    )
  return { call } satisfies Guard
})

/** Health as this guard sees it: an open breaker says down, and only the breaker takes that back. */
const makeReport = Effect.fnUntraced(function* (dependency: FailureDomain) {
  const health = yield* Health
  let known: DependencyState = "up"
  yield* health.report(dependency, "up", null)
  return (state: DependencyState, detail: string | null) =>
    Effect.suspend(() => {
      if (known === state) return Effect.void
      known = state
      return health.report(dependency, state, detail)
    })
})

const isDegrading = (error: unknown): error is Unavailable =>
  error instanceof Unavailable && error.reason !== "breaker_open" && error.reason !== "saturated"

const unavailable = (options: GuardOptions, { detail, reason }: Failure, retryAfterMs: number) =>
  new Unavailable({ dependency: options.dependency, reason, detail, retryAfterMs: Math.ceil(retryAfterMs) })

const retryAfterMsDefault = Duration.toMillis(Breaker.openMin)

const attempt = <A, E, R>(
  options: GuardOptions,
  self: Effect.Effect<A, E, R>,
  limit: Duration.Duration
): Effect.Effect<A, E | Unavailable, R> =>
  Effect.mapError(deadline(limit)(self), (error) => {
    if (error instanceof Unavailable) return error
    const failure: Failure | null = Cause.isTimeoutError(error)
      ? { reason: "timeout", detail: `no answer within ${Duration.toMillis(limit)} ms` }
      : options.toFailure(error)
    if (failure !== null) return unavailable(options, failure, retryAfterMsDefault)
    return error as E
  })

const withPermit =
  (options: GuardOptions, permits: Semaphore.Semaphore) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Unavailable, R> =>
    Effect.acquireUseRelease(
      permits.take(1).pipe(
        Effect.timeoutOrElse({
          duration: options.acquireDeadline,
          orElse: () =>
            Effect.fail(
              unavailable(
                options,
                { reason: "saturated", detail: `${options.concurrencyMax} calls are under way` },
                Duration.toMillis(options.acquireDeadline)
              )
            )
        })
      ),
      () => self,
      () => permits.release(1),
      { interruptible: true }
    )

interface Circuit {
  /** Fails at once unless the circuit is closed. */
  readonly gate: Effect.Effect<void, Unavailable>
  readonly watch: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Unavailable, R>
}

const makeCircuit = Effect.fnUntraced(function* (
  options: GuardOptions,
  tripPolicy: CircuitBreaker.TripPolicy,
  counts: (error: Unavailable) => boolean,
  probe: Effect.Effect<unknown, unknown>,
  report: Report
) {
  const key = options.dependency
  const openDuration = Schedule.min([Schedule.exponential(Breaker.openMin), Schedule.spaced(Breaker.openMax)]).pipe(
    Schedule.jittered
  )
  const breaker = yield* CircuitBreaker.make({ tripPolicy, openDuration })
  const rejected = (retryAfterMs: number) =>
    unavailable(options, { reason: "breaker_open", detail: "it has been failing and is given a rest" }, retryAfterMs)
  const classify = (exit: Exit.Exit<unknown, unknown>) => {
    if (Exit.isSuccess(exit)) return CircuitBreaker.success
    const failed = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
    if (!(failed instanceof Unavailable)) return Exit.hasInterrupts(exit) ? CircuitBreaker.ignored : CircuitBreaker.success
    return counts(failed) ? CircuitBreaker.failure() : CircuitBreaker.ignored
  }
  const watch: Circuit["watch"] = (self) =>
    breaker.execute(self, { key, classify }).pipe(
      Effect.mapError((error) =>
        CircuitBreaker.isCircuitBreakerError(error) ? rejected(retryAfterMsDefault) : error
      )
    )
  const gate = breaker.state(key).pipe(
    Effect.orDie,
    Effect.flatMap((state) => {
      if (state._tag === "Closed") return Effect.void
      return Effect.fail(rejected(state._tag === "Open" ? Duration.toMillis(state.retryAfter) : retryAfterMsDefault))
    })
  )
  yield* prober(breaker, watch(probe), key, report)
  return { gate, watch } satisfies Circuit
})
