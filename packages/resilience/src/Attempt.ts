// One call to a dependency: within its deadline, and every way in which the dependency can fail as `Unavailable`.
import { Cause, Duration, Effect } from "effect"
import { deadline } from "./Deadline.ts"
import type { FailureDomain } from "./FailureDomain.ts"
import { Unavailable, type UnavailableReason } from "./Unavailable.ts"

export interface Failure {
  readonly reason: UnavailableReason
  /** For operators; never carries secrets or personal data. */
  readonly detail: string
}

export interface Sending {
  readonly dependency: FailureDomain
  /** What a driver's error means: unavailable and why, or null for a refusal, which passes through. */
  readonly toFailure: (error: unknown) => Failure | null
  /** When trying again is worth it, if nothing better is known. */
  readonly retryAfterMs: number
}

export const attempt = <A, E, R>(
  sending: Sending,
  self: Effect.Effect<A, E, R>,
  limit: Duration.Duration
): Effect.Effect<A, E | Unavailable, R> =>
  Effect.mapError(deadline(limit)(self), (error) => {
    if (Cause.isTimeoutError(error)) {
      const detail = `no answer within ${Duration.toMillis(limit)} ms`
      return unavailable(sending.dependency, { reason: "timeout", detail }, sending.retryAfterMs)
    }
    const failure = error instanceof Unavailable ? null : sending.toFailure(error)
    return failure === null ? error : unavailable(sending.dependency, failure, sending.retryAfterMs)
  })

export const rejected = (sending: Sending, retryAfterMs: number) =>
  unavailable(
    sending.dependency,
    { reason: "breaker_open", detail: "it has been failing and is given a rest" },
    Math.max(1, retryAfterMs)
  )

export const unavailable = (dependency: FailureDomain, { detail, reason }: Failure, retryAfterMs: number) =>
  new Unavailable({ dependency, reason, detail, retryAfterMs: Math.max(0, Math.ceil(retryAfterMs)) })
