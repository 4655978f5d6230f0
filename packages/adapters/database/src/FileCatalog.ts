// Every file that the core knows, page by page in the order of their ids, told by the state that commands decide on. For whoever goes through all
// of them: each page is one short statement whatever the number of files or tickets, and nobody needs an index of states for it.
import type { FileId } from "@holdfast/contracts/Ids"
import { Attachment } from "@holdfast/domain/attachment/Attachment"
import { FileCatalog as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Effect, Layer, Option, Schema, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "./Database.ts"

export interface CataloguedFile {
  readonly attachment: Attachment
  /** Of its last event, by the clock of whoever wrote it. */
  readonly changedAtMs: number
}

/** Files of one state. */
export interface StateCount {
  readonly state: string
  readonly files: number
  readonly bytes: number
  /** Since the last event of the one that has waited the longest; 0 in states in which none waits. */
  readonly oldestMs: number
}

export interface CataloguePage {
  readonly files: ReadonlyArray<CataloguedFile>
  /** Files and everything else that was looked at for this page. */
  readonly lookedAt: number
}

export class FileCatalog extends Context.Service<
  FileCatalog,
  {
    /** All of them; one that is registered meanwhile may be missing. */
    readonly pages: Stream.Stream<CataloguePage, Unavailable>
    /** Only counted, page by page: the server does it, and little of it travels. */
    readonly counts: Stream.Stream<ReadonlyArray<StateCount>, Unavailable>
    /** Those of them that there are. */
    find(fileIds: ReadonlyArray<FileId>): Effect.Effect<ReadonlyArray<CataloguedFile>, Unavailable>
    /** About how much there is to look at. */
    readonly estimate: Effect.Effect<number, Unavailable>
  }
>()("@holdfast/database/FileCatalog") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Database, (database) => ({
      pages: Stream.paginate(first, (after) =>
        Effect.map(
          database.run(page(after)),
          (row) => [[{ files: filesOf(row.found), lookedAt: row.lookedAt }], nextOf(row)] as const
        )
      ),
      counts: Stream.paginate(first, (after) =>
        Effect.map(database.run(countPage(after)), (row) => [[decodeCounts(row.found)], nextOf(row)] as const)
      ),
      find: Effect.fn("FileCatalog.find")((fileIds) => database.run(find(fileIds))),
      estimate: database.run(estimate)
    }))
  )
}

const first = "00000000-0000-0000-0000-000000000000"

const facts = `jsonb_build_object('state', a.state, 'changedAtMs', (
  SELECT floor(extract(epoch FROM occurred_at) * 1000) FROM core.event_log AS e
  WHERE e.stream_id = a.stream_id AND e.stream_version = a.version))`

const Row = Schema.Struct({ state: Attachment, changedAtMs: Schema.NullOr(Schema.Number) })
const decode = Schema.decodeUnknownSync(Schema.Array(Row))

const filesOf = (rows: unknown): ReadonlyArray<CataloguedFile> =>
  decode(rows).map(({ changedAtMs, state }) => ({ attachment: state, changedAtMs: changedAtMs ?? 0 }))

interface PageRow {
  readonly last: string | null
  readonly lookedAt: number
  readonly found: unknown
}

const nextOf = ({ last, lookedAt }: PageRow) =>
  lookedAt < Limits.pageRowsMax ? Option.none<string>() : Option.fromNullOr(last)

/** `found` is a query on `a`, the rows of this page. */
const pageOf = Effect.fnUntraced(function* (after: string, found: string) {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql<PageRow>`
    WITH a AS MATERIALIZED (
      SELECT stream_id, stream_type, version, state FROM core.aggregate
      WHERE stream_id > ${after} ORDER BY stream_id LIMIT ${Limits.pageRowsMax}
    )
    SELECT (SELECT stream_id FROM a ORDER BY stream_id DESC LIMIT 1) AS last,
      (SELECT count(*) FROM a)::int AS "lookedAt",
      coalesce((${sql.literal(found)}), '[]') AS found`
  return row ?? { last: null, lookedAt: 0, found: [] }
})

const page = (after: string) => pageOf(after, `SELECT jsonb_agg(${facts}) FROM a WHERE stream_type = 'file'`)

const StateCounts = Schema.Array(
  Schema.Struct({ state: Schema.String, files: Schema.Number, bytes: Schema.Number, oldestMs: Schema.Number })
)
const decodeCounts = Schema.decodeUnknownSync(StateCounts)

const countPage = (after: string) =>
  pageOf(
    after,
    `SELECT jsonb_agg(to_jsonb(c)) FROM (
      SELECT f.state, count(*) AS files, sum(f.bytes) AS bytes, greatest(0, coalesce(max(f.age_ms), 0)) AS "oldestMs"
      FROM (
        SELECT a.state->>'state' AS state, (a.state->>'sizeBytes')::bigint AS bytes,
          CASE WHEN a.state->>'state' NOT IN ('released', 'rejected', 'withdrawn') THEN (
            SELECT floor(extract(epoch FROM now() - occurred_at) * 1000) FROM core.event_log AS e
            WHERE e.stream_id = a.stream_id AND e.stream_version = a.version) END AS age_ms
        FROM a WHERE stream_type = 'file'
      ) AS f GROUP BY f.state
    ) AS c`
  )

const find = Effect.fnUntraced(function* (fileIds: ReadonlyArray<FileId>) {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql<{ readonly files: unknown }>`
    SELECT coalesce(jsonb_agg(${sql.literal(facts)}), '[]') AS files FROM core.aggregate AS a
    WHERE stream_type = 'file' AND stream_id = ANY(${[...fileIds]}::uuid[])`
  return filesOf(row?.files ?? [])
})

const estimate = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql<{ readonly rows: number }>`
    SELECT reltuples::float8 AS rows FROM pg_class WHERE oid = 'core.aggregate'::regclass`
  return Math.max(0, row?.rows ?? 0)
})
