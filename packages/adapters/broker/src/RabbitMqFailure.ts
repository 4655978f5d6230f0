// What the driver's errors mean, and its promises as effects that fail with that.
import { deadline } from "@holdfast/resilience/Deadline"
import type { Failure } from "@holdfast/resilience/Guard"
import { Broker as Limits } from "@holdfast/resilience/Limits"
import { Unavailable, type UnavailableReason } from "@holdfast/resilience/Unavailable"
import { Duration, Effect } from "effect"

export const unavailable = (reason: UnavailableReason, detail: string) =>
  new Unavailable({ dependency: "broker", reason, detail, retryAfterMs: Duration.toMillis(Limits.reconnectMin) })

export const asUnavailable = (error: unknown): Unavailable => {
  const { detail, reason } = toFailure(error)
  return unavailable(reason, detail)
}

/** Every error of the driver means that the broker did not do what was asked. */
export const toFailure = (error: unknown): Failure => {
  const code = codeOf(error)
  if (/^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|TIMEOUT|CONNECTION_TIMEOUT)$/.test(code))
    return { reason: "unreachable", detail: describe(error) }
  if (/^(CH_CLOSE|CONN_CLOSE|SOCKET_TIMEOUT|READ_END|ECONNRESET|EPIPE|CONNECTION_FORCED|CLOSING)$/.test(code))
    return { reason: "connection_lost", detail: describe(error) }
  return { reason: "refused", detail: describe(error) }
}

export const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error ? String(error.code) : ""

export const describe = (error: unknown): string => (error instanceof Error ? error.message : "unknown error")

/** Releases without waiting for a server that does not answer. */
export const closing = (close: () => Promise<unknown>) => Effect.ignore(deadline(Limits.closeDeadline)(promise(close)))

export const promise = <A>(evaluate: () => Promise<A>): Effect.Effect<A, Unavailable> =>
  Effect.tryPromise({ try: evaluate, catch: asUnavailable })

/** Written to the socket without an answer: only a closed channel is noticed, and then the delivery comes back. */
export const attemptNow = (write: () => void) => Effect.try({ try: write, catch: asUnavailable })
