// What the log tells of files after their release: which are to be looked at again and by what they were looked at last, which give the same
// content, and on which tickets they hang. All of it is read from what is recorded, so nobody who asks has to remember anything. Every
// question but that for shared content walks an index and stops at a bound.
import { Tool } from "@holdfast/contracts/attachment/Stages"
import { FileId, Position, type Sha256, StreamVersion, TicketId } from "@holdfast/contracts/Ids"
import { Audience } from "@holdfast/contracts/ticket/Status"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Effect, Layer, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "./Database.ts"

export interface Rescan {
  readonly fileId: FileId
  readonly position: Position
  /** Not done yet. */
  readonly isPending: boolean
}

export interface ReleasedFile {
  readonly fileId: FileId
  /** Of its release. */
  readonly position: Position
  readonly releasedAtMs: number
  /** Still released, and no rescan of it is asked for. */
  readonly isIdle: boolean
  /** What looked at it last, and the version of the file that says so. */
  readonly scannedWith: Tool
  readonly scannedVersion: StreamVersion
}

export interface AttachedTo {
  readonly ticketId: TicketId
  readonly name: string
  readonly audience: Audience
}

export class ReleasedFiles extends Context.Service<
  ReleasedFiles,
  {
    /** Requests after this position, in the order of the log. */
    rescans(after: Position, countMax: number): Effect.Effect<ReadonlyArray<Rescan>, Unavailable>
    /** How many of these files still wait for their rescan. */
    pending(fileIds: ReadonlyArray<FileId>): Effect.Effect<number, Unavailable>
    /** Newest release first; those released before this position. */
    page(before: Position, countMax: number): Effect.Effect<ReadonlyArray<ReleasedFile>, Unavailable>
    /** Files registered before this position that give this content to downloads, or will once they are released. */
    giving(sha256: Sha256, before: Position): Effect.Effect<ReadonlyArray<FileId>, Unavailable>
    /** Every ticket that it was attached to, at most 1000. */
    attachments(fileId: FileId): Effect.Effect<ReadonlyArray<AttachedTo>, Unavailable>
  }
>()("@holdfast/database/ReleasedFiles") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Database, (database) => ({
      rescans: (after, countMax) => Effect.withSpan(database.run(rescans(after, countMax)), "ReleasedFiles.rescans"),
      pending: (fileIds) => Effect.withSpan(database.run(pending(fileIds)), "ReleasedFiles.pending"),
      page: (before, countMax) => Effect.withSpan(database.run(page(before, countMax)), "ReleasedFiles.page"),
      giving: (sha256, before) => Effect.withSpan(database.run(giving(sha256, before)), "ReleasedFiles.giving"),
      attachments: (fileId) => Effect.withSpan(database.run(attachments(fileId)), "ReleasedFiles.attachments")
    }))
  )
}

const isPending = `coalesce((file.state->>'isRescanPending')::boolean, false)`

const rescans = Effect.fnUntraced(function* (after: Position, countMax: number) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql`
    SELECT asked.stream_id AS "fileId", asked.position::float8 AS position, ${sql.literal(isPending)} AS "isPending"
    FROM core.event_log AS asked JOIN core.aggregate AS file USING (stream_id)
    WHERE asked.type = 'FileRescanRequested' AND asked.position > ${after}
    ORDER BY asked.position LIMIT ${countMax}`
  return decodeRescans(rows)
})

const decodeRescans = Schema.decodeUnknownSync(
  Schema.Array(Schema.Struct({ fileId: FileId, position: Position, isPending: Schema.Boolean }))
)

const pending = Effect.fnUntraced(function* (fileIds: ReadonlyArray<FileId>) {
  if (fileIds.length === 0) return 0
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly count: number }>`
    SELECT count(*)::integer AS count FROM core.aggregate AS file
    WHERE ${sql.in("file.stream_id", fileIds)} AND ${sql.literal(isPending)}`
  return rows[0]?.count ?? 0
})

/** A rescan that could not be done counts: with the same signatures it could not be done again. */
const page = Effect.fnUntraced(function* (before: Position, countMax: number) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql`
    SELECT released.stream_id AS "fileId", released.position::float8 AS position,
      (extract(epoch FROM released.occurred_at) * 1000)::float8 AS "releasedAtMs",
      file.state->>'state' = 'released' AND NOT ${sql.literal(isPending)} AS "isIdle",
      scan.tool AS "scannedWith", scan.stream_version AS "scannedVersion"
    FROM core.event_log AS released JOIN core.aggregate AS file USING (stream_id)
    CROSS JOIN LATERAL (
      SELECT data->'tool' AS tool, stream_version FROM core.event_log AS event
      WHERE event.stream_id = released.stream_id AND type IN ('FileScanned', 'FileRescanned', 'FileRescanFailed', 'FileWithdrawn')
      ORDER BY stream_version DESC LIMIT 1
    ) AS scan
    WHERE released.type = 'FileReleased' AND released.position < ${before}
    ORDER BY released.position DESC LIMIT ${countMax}`
  return decodePage(rows)
})

const decodePage = Schema.decodeUnknownSync(
  Schema.Array(
    Schema.Struct({
      fileId: FileId,
      position: Position,
      releasedAtMs: Schema.Finite,
      isIdle: Schema.Boolean,
      scannedWith: Tool,
      scannedVersion: StreamVersion
    })
  )
)

/** One pass over the files: it is asked only when content was found bad. Uploaded bytes that were replaced are given to nobody. */
const giving = Effect.fnUntraced(function* (sha256: Sha256, before: Position) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql`
    SELECT stream_id AS "fileId" FROM core.aggregate JOIN core.event_log AS event USING (stream_id)
    WHERE event.stream_version = 1 AND event.position < ${before} AND aggregate.stream_type = 'file' AND NOT state->>'state' = ANY('{rejected,withdrawn}'::text[]) AND (
      state->'derivatives' @> ${JSON.stringify([{ sha256 }])}::jsonb
      OR (state->>'sha256' = ${sha256} AND NOT state->'derivatives' @> '[{"kind":"original"}]'::jsonb)
    )`
  return decodeFileIds(rows).map(({ fileId }) => fileId)
})

const decodeFileIds = Schema.decodeUnknownSync(Schema.Array(Schema.Struct({ fileId: FileId })))

const attachments = Effect.fnUntraced(function* (fileId: FileId) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql`
    SELECT stream_id AS "ticketId", data->>'name' AS name, data->>'audience' AS audience FROM core.event_log
    WHERE type = 'FileAttached' AND data->>'fileId' = ${fileId} ORDER BY seq LIMIT 1000`
  return decodeAttachments(rows)
})

const decodeAttachments = Schema.decodeUnknownSync(
  Schema.Array(Schema.Struct({ ticketId: TicketId, name: Schema.String, audience: Audience }))
)
