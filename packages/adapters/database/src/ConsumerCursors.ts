// Where each consumer group stands in the log, for consumers that read the log itself (the embedded broker). A cursor says that
// everything up to it is done; it never moves back by itself.
import { Position } from "@holdfast/contracts/Ids"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "./Database.ts"

export class ConsumerCursors extends Context.Service<
  ConsumerCursors,
  {
    /** 0 for a group that has never consumed. */
    read(group: string): Effect.Effect<Position, Unavailable>
    /** Never moves the cursor back. */
    advance(group: string, position: Position): Effect.Effect<void, Unavailable>
  }
>()("@holdfast/database/ConsumerCursors") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Database, (database) => ({
      read: (group) => Effect.withSpan(database.run(read(group)), "ConsumerCursors.read"),
      advance: (group, position) => Effect.withSpan(database.run(advance(group, position)), "ConsumerCursors.advance")
    }))
  )
}

const read = Effect.fnUntraced(function* (group: string) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly position: number }>`
    SELECT position::float8 AS position FROM core.consumer_cursor WHERE group_name = ${group}`
  return Position.make(rows[0]?.position ?? 0)
})

const advance = Effect.fnUntraced(function* (group: string, position: Position) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    INSERT INTO core.consumer_cursor AS cursor (group_name, position) VALUES (${group}, ${position})
    ON CONFLICT (group_name) DO UPDATE SET position = greatest(cursor.position, excluded.position)`
})
