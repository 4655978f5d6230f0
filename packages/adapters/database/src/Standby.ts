// A server with a standby. Commits wait for a synchronous standby, but that wait can be cancelled, by us when a deadline ends or by an
// operator: the commit is then visible on this server and may be nowhere else, and is gone when the standby takes over. So what must not
// be taken back is said only after a wait of its own. And after a failover an old connection may still lead to a server that has become
// a standby: it is left as soon as that shows.
import { type SqlClient, SqlError } from "effect/sql"
import { sqlState } from "./SqlFailure.ts"

/**
 * An expression that makes its statement wait until a synchronous standby, if there is one, has all that the statement could see. A boolean or
 * null: the driver knows no log positions and took their bytes for text, which half of them are not.
 */
export const awaitStandby =
  "CASE WHEN current_setting('synchronous_standby_names') <> '' THEN pg_logical_emit_message(true, 'holdfast', '') IS NOT NULL END"

/** The answer of a standby to a write. */
export const isReadOnly = (error: unknown): boolean => SqlError.isSqlError(error) && sqlState(error.reason) === "25006"

/**
 * Ends this process's connections to a server that is a standby, for their address may lead to the new primary by now while they
 * themselves, being in use, would live on for ever.
 */
export const leaveStandby = (sql: SqlClient.SqlClient) => sql`
  SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE pg_is_in_recovery() AND usename = current_user AND datname = current_database()
    AND application_name = current_setting('application_name')`
