// The one way an outside dependency fails to the code that uses it: it is not available. The reason tells what happened, and
// `retry` answers the first question of every caller. A refusal by a dependency that is up is not this error.
import { Schema } from "effect"
import { FailureDomain } from "./FailureDomain.ts"

export const UnavailableReason = Schema.Literals([
  /** The breaker is open: nothing was sent. */
  "breaker_open",
  /** Too many calls are under way: nothing was sent. */
  "saturated",
  /** Could not connect: nothing was sent. */
  "unreachable",
  /** Connecting was not answered in time: nothing was sent, and it hangs. */
  "connect_timeout",
  /** Sent, and no answer came in time, or the connection broke: it may have been done. */
  "timeout",
  "connection_lost",
  /** It answered that it cannot: disk full, shutting down, too many connections. */
  "refused"
])
export type UnavailableReason = typeof UnavailableReason.Type

export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  dependency: FailureDomain,
  reason: UnavailableReason,
  /** When trying again is worth it. */
  retryAfterMs: Schema.Natural,
  detail: Schema.String
}) {
  /** False: the dependency has certainly not done what was asked. */
  get mayHaveHappened(): boolean {
    return this.reason === "timeout" || this.reason === "connection_lost"
  }
}
