// Which stored content files need, told by the state that commands decide on and write in one transaction with the log: never by a view, which
// may lag and would then let a sweep remove what a new file has just come to need.
import type { Sha256 } from "@holdfast/contracts/Ids"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "./Database.ts"

export class FileReferences extends Context.Service<
  FileReferences,
  {
    /** Those of these contents that a file has which is neither released nor rejected: its uploaded bytes, and what was made from them. */
    waiting(keys: ReadonlyArray<Sha256>): Effect.Effect<ReadonlySet<Sha256>, Unavailable>
    /** Those that a file has which was not rejected. */
    kept(keys: ReadonlyArray<Sha256>): Effect.Effect<ReadonlySet<Sha256>, Unavailable>
  }
>()("@holdfast/database/FileReferences") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Database, (database) => ({
      waiting: (keys) => Effect.withSpan(database.run(referred(keys, [...gone, "released"])), "FileReferences.waiting"),
      kept: (keys) => Effect.withSpan(database.run(referred(keys, gone)), "FileReferences.kept")
    }))
  )
}

/** States in which a file gives its content to nobody, for good. */
const gone = ["rejected", "withdrawn"]

/** One pass over the files, however many contents are asked for. */
const referred = Effect.fnUntraced(function* (keys: ReadonlyArray<Sha256>, except: ReadonlyArray<string>) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly sha256: Sha256 }>`
    WITH file AS (
      SELECT state FROM core.aggregate
      WHERE stream_type = 'file' AND NOT state->>'state' = ANY(${[...except]}::text[])
    )
    SELECT state->>'sha256' AS sha256 FROM file WHERE state->>'sha256' = ANY(${[...keys]}::text[])
    UNION
    SELECT made->>'sha256' FROM file, jsonb_array_elements(state->'derivatives') AS made
    WHERE made->>'sha256' = ANY(${[...keys]}::text[])`
  return new Set(rows.map(({ sha256 }) => sha256))
})
