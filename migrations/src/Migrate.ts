// Brings a database to the schema that this version of the desk needs, forward only. One transaction under one lock: started twice
// at once, the second waits, finds nothing to do and succeeds; failed half way, nothing has changed. The core and the read side
// may live on different servers, so each has its own list, its own schema and its own record of what was run.
import { Effect } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import core0001 from "./0001_core.ts"
import core0002 from "./0002_events.ts"
import read0003 from "./0003_read.ts"
import core0004 from "./0004_reactions.ts"
import read0005 from "./0005_volume.ts"

/** `<number>_<name>`; numbers are shared by both lists and never reused. */
const lists = {
  core: { "0001_core": core0001, "0002_events": core0002, "0004_reactions": core0004 },
  read: { "0003_read": read0003, "0005_volume": read0005 }
} as const

export type Side = keyof typeof lists

/** Other migrators are waited for this long; a long backfill belongs in a background job, not in a migration. */
const lockDeadline = "60s"

/** The names that were run now; empty when the schema was current. */
export const migrate = Effect.fn("Migrate.migrate")(function* (side: Side) {
  const sql = yield* SqlClient.SqlClient
  const run = Migrator.make({})({ loader: Migrator.fromRecord(lists[side]), table: `${side}.migration` })
  return yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* sql.unsafe("SET LOCAL statement_timeout = 0")
      yield* sql.unsafe(`SET LOCAL lock_timeout = '${lockDeadline}'`)
      yield* sql`SELECT pg_advisory_xact_lock(hashtext(${`holdfast.migrate.${side}`}))`
      yield* sql.unsafe(`CREATE SCHEMA IF NOT EXISTS ${side}`)
      return (yield* run).map(([id, name]) => `${String(id).padStart(4, "0")}_${name}`)
    })
  )
})

/** Both sides on one server: how every test and the embedded default begin. */
export const migrateAll = Effect.all([migrate("core"), migrate("read")]).pipe(Effect.map((ran) => ran.flat()))
