// The one way to call an outside dependency: a bound on calls under way, a deadline, and a circuit breaker that opens on a bad ratio of
// failures and on timeouts in a row. While it is open nothing is sent and the caller is refused at once; a synthetic probe, never a
// user's call, finds out when the dependency is back. Refusals by a dependency that is up count as success. Breaker state is
// kept in memory. (Pattern: Nygard, "Release It!", 2nd edition, "Circuit Breaker" and "Bulkheads".)
import { Duration, Effect, Option, Scope, Semaphore } from "effect"
import { type Failure, unavailable } from "./Attempt.ts"
import { type CircuitOptions, type Knock, makeCircuit, type Rest, type Watch } from "./Circuit.ts"
import type { FailureDomain } from "./FailureDomain.ts"
import { makeHealthBoard } from "./HealthBoard.ts"
import { Breaker } from "./Limits.ts"
import type { Unavailable } from "./Unavailable.ts"

export type { Failure } from "./Attempt.ts"

export interface GuardOptions {
  readonly dependency: FailureDomain
  /** Each call. Inside the breaker, so that a timeout counts. */
  readonly deadline: Duration.Duration
  /** Calls under way at once: a bulkhead, so that a slow dependency holds no more than this. */
  readonly concurrencyMax: number
  /** How long a call may wait for its turn. */
  readonly acquireDeadline: Duration.Duration
  /** A cheap, harmless call that shows whether the dependency answers. One at a time, and besides the calls under way. */
  readonly probe: Effect.Effect<unknown, unknown>
  /** Asked before the probe while the breaker is open. */
  readonly knock?: Knock
  /** `Breaker.probeDeadline`, or the deadline of calls where that is shorter, unless told. */
  readonly probeDeadline?: Duration.Duration
  /** `Breaker.restNear` unless told. */
  readonly rest?: Rest
  /** Without it only calls tell how the dependency is. */
  readonly watch?: Watch
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
  const permits = yield* Semaphore.make(options.concurrencyMax)
  const rest = options.rest ?? Breaker.restNear
  const board = yield* makeHealthBoard(options.dependency, rest.max)
  const circuit = yield* makeCircuit(circuitOptions(options, rest), board)
  // The gate stands before the wait for a turn, to refuse at once, and again after it if there was one: a call that waited while the
  // breaker opened and its rest ended would otherwise be the probe.
  const call: Guard["call"] = (self, callOptions) => {
    const sent = circuit.send(self, callOptions?.deadline ?? options.deadline)
    return Effect.andThen(circuit.gate, withPermit(options, permits, sent, Effect.andThen(circuit.gate, sent)))
  }
  return { call } satisfies Guard
})

const circuitOptions = (options: GuardOptions, rest: Rest): CircuitOptions => ({
  dependency: options.dependency,
  toFailure: options.toFailure,
  retryAfterMs: Duration.toMillis(rest.min),
  rest,
  probe: options.probe,
  knock: options.knock,
  probeDeadline: options.probeDeadline ?? Duration.min(options.deadline, Breaker.probeDeadline),
  watch: options.watch
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
    options.dependency,
    { reason: "saturated", detail: `${options.concurrencyMax} calls are under way` },
    Duration.toMillis(options.acquireDeadline)
  )
