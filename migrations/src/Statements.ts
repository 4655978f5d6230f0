// A migration as a list of SQL statements, run one after the other inside the migrator's transaction. The protocol takes one statement
// at a time, so a file of several is a list, never one string.
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export const statements = (list: ReadonlyArray<string>) =>
  SqlClient.SqlClient.use((sql) => Effect.forEach(list, (statement) => sql.unsafe(statement), { discard: true }))
