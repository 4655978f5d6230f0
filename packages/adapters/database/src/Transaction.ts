// The only way to open a transaction. The driver's own wrapper turns a connection lost inside into a defect (its ROLLBACK fails and
// the whole cause dies with it), which no caller could handle; here it is the typed error that it is. Whether a transaction whose
// COMMIT got no answer was done is unknown to everybody: callers must be able to run it again.
import { Cause, Effect } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { toFailure } from "./SqlFailure.ts"

export const transaction = <A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | SqlError.SqlError, R | SqlClient.SqlClient> =>
  SqlClient.SqlClient.use((sql) => sql.withTransaction(self)).pipe(
    Effect.catchCause((cause): Effect.Effect<never, E | SqlError.SqlError> => {
      const lost = cause.reasons.find((reason) => Cause.isDieReason(reason) && toFailure(reason.defect) !== null)
      return lost !== undefined && Cause.isDieReason(lost) && SqlError.isSqlError(lost.defect)
        ? Effect.fail(lost.defect)
        : Effect.failCause(cause)
    })
  )
