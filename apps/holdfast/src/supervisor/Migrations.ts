// Brings both sides of the database to this version's schema before any process starts, and says in one sentence why it could not.
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { migrate, pending, type Side } from "@holdfast/migrations/Migrate"
import { Duration, Effect, Redacted } from "effect"
import { type SqlClient, SqlError } from "effect/sql"
import { refuse } from "../Refusal.ts"

/** The names of the migrations that were run now. */
export const migrateSide = (side: Side, url: Redacted.Redacted<string>) => onSide(side, url, migrate(side))

/** What is still to be run; changes nothing. */
export const pendingOfSide = (side: Side, url: Redacted.Redacted<string>) => onSide(side, url, pending(side))

const onSide = <A, E>(side: Side, url: Redacted.Redacted<string>, work: Effect.Effect<A, E, SqlClient.SqlClient>) => {
  const failed = (cause: unknown) => refuse(migrationSentence(side, url, describe(cause)))
  const client = ClientPostgres.layer({ url, applicationName: "holdfast-migrate", statementDeadline: Duration.zero })
  return work.pipe(
    Effect.provide(client),
    Effect.mapError(failed),
    Effect.catchDefect((defect) => Effect.fail(failed(defect)))
  )
}

const variables: Readonly<Record<Side, string>> = {
  core: "HOLDFAST_DATABASE_URL",
  read: "HOLDFAST_READ_DATABASE_URL"
}

/** Where, without the password. */
export const migrationSentence = (side: Side, url: Redacted.Redacted<string>, reason: string): string => {
  const { hostname, pathname, port } = new URL(Redacted.value(url))
  const place = `${hostname}:${port === "" ? "5432" : port}${pathname}`
  return `The database at ${place} (${variables[side]}) could not be prepared: ${reason}`
}

/** The innermost message: what the server or the operating system said. */
const describe = (error: unknown): string => {
  if (SqlError.isSqlError(error)) return describe(error.reason)
  if (error instanceof Error && error.cause !== undefined) return describe(error.cause)
  return error instanceof Error && error.message !== "" ? error.message : String(error)
}
