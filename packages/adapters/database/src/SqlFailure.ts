// What an error of PostgreSQL means to the desk: away (and how), busy, or a refusal by a server that is well. The distinction that
// matters most is whether a statement may have been done: only what failed while connecting, or was answered with an error that
// rolls the statement back, certainly was not.
import type { Failure } from "@holdfast/resilience/Guard"
import { SqlError } from "effect/sql"

/** Null: the server is well and refused the statement. */
export const toFailure = (error: unknown): Failure | null => {
  if (!SqlError.isSqlError(error)) return null
  const { reason } = error
  const code = sqlState(reason)
  if (reason.operation === "connect") return connecting(reason, code)
  // Terminated or crashed while the statement ran: the answer to a commit may have been on its way.
  if (reason._tag === "ConnectionError" || /^(08|57P0[124])/.test(code))
    return { reason: "connection_lost", detail: `the connection was lost ${code}`.trimEnd() }
  if (reason._tag === "StatementTimeoutError") return { reason: "refused", detail: "the statement took too long" }
  // Out of disk, memory or connections; starting up; read-only since it became a standby; an error of its own files.
  if (/^(53|57P03|58|XX|25006)/.test(code)) return { reason: "refused", detail: `the server answers ${code}` }
  return null
}

const connecting = (reason: SqlError.SqlErrorReason, code: string): Failure => {
  if (/^(53|57|28)/.test(code)) return { reason: "refused", detail: `connecting was answered ${code}` }
  // The driver says this only in words.
  const hung = reason.cause instanceof Error && reason.cause.message === "Connection timed out"
  if (hung) return { reason: "connect_timeout", detail: "connecting was not answered in time" }
  return { reason: "unreachable", detail: code === "" ? reason._tag : code }
}

/** Somebody else holds what this needs: the server is well, and trying again soon is worth it. */
export const isContention = (error: unknown): boolean =>
  SqlError.isSqlError(error) &&
  (error.reason._tag === "LockTimeoutError" ||
    error.reason._tag === "DeadlockError" ||
    error.reason._tag === "SerializationError")

/** SQLSTATE, or the operating system's code, or nothing. */
export const sqlState = (reason: SqlError.SqlErrorReason): string => {
  const { cause } = reason
  return typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : ""
}
