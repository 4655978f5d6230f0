// After a drill: what clients were told, against the truth. Everything is compared as sets, in the database, so that a million commands take
// seconds and little memory. The ledger comes from its folder, so it may be read after the drill that wrote it is gone. Nothing of the
// desk is changed: what the audit writes are temporary tables of its own sessions.
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { DrillLoad } from "@holdfast/resilience/Limits"
import { Context, Duration, Effect, Layer, type Redacted, Schedule, Stream } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { refuse } from "../Refusal.ts"
import { compareSequences, type SequenceFindings } from "./AuditSequence.ts"
import type { FeedTerms, LedgerReader } from "./Ledger.ts"

export interface AuditTarget {
  readonly databaseUrl: Redacted.Redacted<string>
  /** The same where the read side has no server of its own. */
  readonly readDatabaseUrl: Redacted.Redacted<string>
}

/** How many, and the first few by name. */
export interface Found {
  readonly count: number
  readonly examples: ReadonlyArray<string>
}

export interface AuditFindings {
  readonly commands: {
    readonly acknowledged: number
    /** Acknowledged and not there. */
    readonly lost: Found
    /** Applied more than once. */
    readonly doubled: Found
    /** Told that nothing was done, and it was. */
    readonly undenied: Found
    /** The answer named another version than the one that was kept. */
    readonly misquoted: Found
    /** Nobody ever learnt what became of it. */
    readonly unresolved: Found
  }
  readonly log: {
    readonly events: number
    /** Positions that nobody has, between the first and the last of this time. */
    readonly gaps: number
    readonly unpositioned: number
    /** Streams whose versions are not 1, 2, 3. */
    readonly gapped: Found
    /** Streams whose positions go against their versions. */
    readonly reordered: Found
    readonly parked: number
  }
  readonly views: {
    /** Positions between the log's newest and the views. */
    readonly behind: number
    /** Tickets and files that the log has at another version than the views. */
    readonly differing: Found
    /** Acknowledged messages that nobody can read. */
    readonly missing: Found
  }
  readonly uploads: {
    readonly accepted: number
    readonly lost: Found
    readonly doubled: Found
    readonly wrongContent: Found
    /** Neither released nor rejected. */
    readonly unfinished: Found
  }
  readonly feeds: ReadonlyArray<SequenceFindings & { readonly terms: FeedTerms }>
}

/** Looks at what was written after this position; `ledger` must be flushed. */
export const audit = (target: AuditTarget, ledger: LedgerReader, after: number) =>
  Effect.gen(function* () {
    const core = yield* session(target.databaseUrl)
    const read = yield* session(target.readDatabaseUrl)
    yield* tellCommands(core, ledger)
    const until = Number((yield* one(core, "SELECT coalesce(max(position), 0) AS top FROM core.event_log")).top)
    return {
      commands: yield* auditCommands(core),
      log: yield* auditLog(core, after),
      views: yield* auditViews(core, read, ledger, until),
      uploads: yield* auditUploads(core, ledger),
      feeds: yield* auditFeeds(core, ledger, until)
    } satisfies AuditFindings
  }).pipe(Effect.scoped, asRefusal)

const asRefusal = Effect.mapError((cause: { readonly message: string }) =>
  refuse(`The audit could not be made: ${cause.message}`)
)

const auditCommands = Effect.fnUntraced(function* (core: Ask) {
  const acknowledged = yield* one(core, "SELECT count(*) AS count FROM told WHERE told = 'done'")
  return {
    acknowledged: Number(acknowledged.count),
    lost: yield* found(
      core,
      "SELECT command_id AS name FROM told WHERE told = 'done' AND NOT (has_receipt AND has_event)"
    ),
    doubled: yield* found(core, "SELECT DISTINCT command_id AS name FROM present WHERE times > 1"),
    undenied: yield* found(
      core,
      `SELECT command_id AS name FROM told WHERE told IN ('refused', 'declined')
       AND (has_receipt OR EXISTS (SELECT 1 FROM present WHERE present.command_id = told.command_id))`
    ),
    misquoted: yield* found(
      core,
      `SELECT command_id AS name FROM told WHERE told = 'done' AND has_receipt AND (version <> receipt_version
       OR version < (SELECT max(present.version) FROM present WHERE present.command_id = told.command_id))`
    ),
    unresolved: yield* found(core, "SELECT command_id AS name FROM told WHERE told = 'unknown'")
  }
})

/** The ledger as a table, and beside each command what the desk kept of it. A command that changed nothing has a receipt and no event. */
const tellCommands = Effect.fnUntraced(function* (core: Ask, ledger: LedgerReader) {
  yield* core(`CREATE TEMP TABLE told (command_id uuid PRIMARY KEY, kind text, principal_id text, stream_id uuid, told text, version int,
    has_receipt boolean NOT NULL DEFAULT false, receipt_version int, has_event boolean NOT NULL DEFAULT false)`)
  const insert = `INSERT INTO told (command_id, kind, principal_id, stream_id, told, version)
    SELECT "commandId", kind, "principalId", "streamId", told, version FROM jsonb_to_recordset($1::text::jsonb)
    AS t("commandId" uuid, kind text, "principalId" text, "streamId" uuid, told text, version int)
    ON CONFLICT (command_id) DO UPDATE SET told = excluded.told, version = excluded.version`
  yield* eachBatch(ledger.commands(), (batch) => {
    const last = new Map(batch.map((told) => [told.commandId, told]))
    return core(insert, [JSON.stringify([...last.values()])])
  })
  yield* core("ANALYZE told")
  yield* core(`CREATE TEMP TABLE present AS SELECT command_id, type, count(*)::int AS times, max(stream_version) AS version
    FROM core.event_log WHERE command_id IN (SELECT command_id FROM told) GROUP BY command_id, type`)
  yield* core("CREATE INDEX ON present (command_id)")
  yield* core("ANALYZE present")
  yield* core(`UPDATE told SET has_receipt = true, receipt_version = (receipt.answer ->> 'version')::int
    FROM core.command_receipt AS receipt WHERE receipt.principal_id = told.principal_id AND receipt.command_id = told.command_id`)
  yield* core(`UPDATE told SET has_event = kind NOT IN ('OpenTicket', 'ReplyToTicket', 'AddNote') OR EXISTS (
    SELECT 1 FROM present WHERE present.command_id = told.command_id AND present.type = CASE kind
      WHEN 'OpenTicket' THEN 'TicketOpened' WHEN 'ReplyToTicket' THEN 'TicketReplied' ELSE 'NoteAdded' END)`)
})

const auditLog = Effect.fnUntraced(function* (core: Ask, after: number) {
  const row = yield* one(
    core,
    `SELECT count(*) AS events, count(*) FILTER (WHERE position IS NULL) AS unpositioned,
     greatest(coalesce(max(position), $1::bigint) - $1::bigint - count(position), 0) AS gaps
     FROM core.event_log WHERE position > $1::bigint OR position IS NULL`,
    [after]
  )
  const parked = yield* one(core, "SELECT count(*) AS count FROM core.parked_event")
  return {
    ...{ events: Number(row.events), gaps: Number(row.gaps), unpositioned: Number(row.unpositioned) },
    gapped: yield* found(
      core,
      `SELECT stream_id AS name FROM core.event_log WHERE position > $1::bigint OR position IS NULL GROUP BY stream_id
       HAVING max(stream_version) - min(stream_version) + 1 <> count(*)`,
      [after]
    ),
    reordered: yield* found(
      core,
      `SELECT DISTINCT stream_id AS name FROM (
         SELECT stream_id, position, lag(position) OVER (PARTITION BY stream_id ORDER BY stream_version) AS earlier
         FROM core.event_log WHERE position > $1::bigint) AS placed WHERE position < earlier`,
      [after]
    ),
    parked: Number(parked.count)
  }
})

const auditViews = Effect.fnUntraced(function* (core: Ask, read: Ask, ledger: LedgerReader, until: number) {
  const state = yield* one(read, "SELECT position FROM read.projection_state WHERE group_name = 'views'")
  yield* read("CREATE TEMP TABLE written (message_id uuid PRIMARY KEY)")
  const insert =
    "INSERT INTO written SELECT value::uuid FROM jsonb_array_elements_text($1::text::jsonb) ON CONFLICT DO NOTHING"
  yield* eachBatch(ledger.commands(), (batch) => {
    const messages = batch.flatMap(({ commandId, kind, told }) =>
      told === "done" && kind !== "ChangeTicketStatus" ? [commandId] : []
    )
    return read(insert, [JSON.stringify(messages)])
  })
  return {
    behind: Math.max(0, until - Number(state.position)),
    differing: yield* differing(core, read),
    missing: yield* found(
      read,
      "SELECT message_id AS name FROM written WHERE NOT EXISTS (SELECT 1 FROM read.message WHERE message.id = message_id)"
    )
  }
})

const sides = [
  {
    core: "SELECT stream_id AS id, version FROM core.aggregate WHERE stream_type = 'ticket'",
    read: "SELECT id, version FROM read.ticket"
  },
  {
    core: "SELECT stream_id AS id, version FROM core.aggregate WHERE stream_type = 'file'",
    read: "SELECT id, version FROM read.file"
  }
]

/** Both sides of the desk may be on different servers: they are compared by one sum each, and one by one only when those differ. */
const differing = Effect.fnUntraced(function* (core: Ask, read: Ask) {
  const names: Array<string> = []
  for (const side of sides) {
    if ((yield* digest(core, side.core)) === (yield* digest(read, side.read))) continue
    names.push(...(yield* differences(core, side.core, read, side.read)))
  }
  return { count: names.length, examples: names.slice(0, DrillLoad.auditExamplesMax) }
})

const digest = (side: Ask, rows: string) =>
  Effect.map(
    one(
      side,
      `SELECT count(*) AS count, sum(hashtextextended(id::text || ' ' || version::text, 0)::numeric) AS sum FROM (${rows}) AS r`
    ),
    ({ count, sum }) => `${count} ${sum}`
  )

const differences = Effect.fnUntraced(function* (core: Ask, coreRows: string, read: Ask, readRows: string) {
  const names: Array<string> = []
  let from = "00000000-0000-0000-0000-000000000000"
  while (true) {
    const page = `SELECT id::text AS id, version FROM (ROWS) AS r WHERE id > $1::uuid ORDER BY id LIMIT ${DrillLoad.auditBatchMax}`
    const expected = yield* core(page.replace("ROWS", coreRows), [from])
    if (expected.length === 0) return names
    const ids = JSON.stringify(expected.map((row: Row) => row.id))
    const held = yield* read(
      `SELECT id::text AS id, version FROM (${readRows}) AS r WHERE id IN (SELECT value::uuid FROM jsonb_array_elements_text($1::text::jsonb))`,
      [ids]
    )
    const versions = new Map(held.map((row: Row) => [row.id, row.version]))
    for (const row of expected) if (versions.get(row.id) !== row.version) names.push(String(row.id))
    from = String(expected.at(-1)?.id)
  }
})

const auditUploads = Effect.fnUntraced(function* (core: Ask, ledger: LedgerReader) {
  yield* core("CREATE TEMP TABLE sent (file_id uuid PRIMARY KEY, sha256 text, size_bytes bigint, told text)")
  const insert = `INSERT INTO sent SELECT "fileId", sha256, "sizeBytes", told FROM jsonb_to_recordset($1::text::jsonb)
    AS t("fileId" uuid, sha256 text, "sizeBytes" bigint, told text) ON CONFLICT (file_id) DO UPDATE SET told = excluded.told`
  yield* eachBatch(ledger.uploads(), (batch) => {
    const last = new Map(batch.map((told) => [told.fileId, told]))
    return core(insert, [JSON.stringify([...last.values()])])
  })
  yield* core(`CREATE TEMP TABLE arrived AS SELECT stream_id AS file_id, count(*) FILTER (WHERE type = 'FileReceived') AS times,
    bool_and(data ->> 'sha256' = sha256 AND (data ->> 'sizeBytes')::bigint = size_bytes) FILTER (WHERE type = 'FileReceived') AS is_same,
    count(*) FILTER (WHERE type IN ('FileReleased', 'FileRejected')) AS ends
    FROM core.event_log JOIN sent ON stream_id = file_id GROUP BY stream_id`)
  const accepted = yield* one(core, "SELECT count(*) AS count FROM sent WHERE told = 'accepted'")
  const where = (condition: string) =>
    found(
      core,
      `SELECT file_id AS name FROM sent LEFT JOIN arrived USING (file_id) WHERE told = 'accepted' AND ${condition}`
    )
  return {
    accepted: Number(accepted.count),
    lost: yield* where("coalesce(times, 0) = 0"),
    doubled: yield* where("times > 1"),
    wrongContent: yield* where("NOT is_same"),
    unfinished: yield* where("coalesce(ends, 0) <> 1")
  }
})

const auditFeeds = Effect.fnUntraced(function* (core: Ask, ledger: LedgerReader, until: number) {
  const all = yield* Effect.promise(ledger.feeds)
  return yield* Effect.forEach(all, (terms) =>
    Effect.promise(() => compareSequences(permitted(core, terms, until), ledger.positions(terms.number))).pipe(
      Effect.map((findings) => ({ terms, ...findings }))
    )
  )
})

/** What this subscriber may read, said a second time and in other words than the gateway's: that is what makes it a check. */
export const permittedWhere = ({ customerId, ticketId }: FeedTerms) => ({
  text: `stream_type = 'ticket' AND ($1::uuid IS NULL OR stream_id = $1::uuid)
    AND ($2::text IS NULL OR (visibility ->> 'audience' = 'public' AND visibility ->> 'requesterId' = $2::text))`,
  parameters: [ticketId ?? null, customerId ?? null]
})

async function* permitted(core: Ask, terms: FeedTerms, until: number): AsyncGenerator<ReadonlyArray<number>> {
  const { parameters, text } = permittedWhere(terms)
  let from = terms.after
  while (true) {
    const page = `SELECT position::float8 AS position FROM core.event_log WHERE position > $3::bigint AND position <= $4::bigint AND ${text}
      ORDER BY position LIMIT ${DrillLoad.auditBatchMax}`
    const rows = await Effect.runPromise(core(page, [...parameters, from, until]))
    if (rows.length === 0) return
    const positions = rows.map((row: Row) => Number(row.position))
    yield positions
    from = positions.at(-1) ?? until
  }
}

type Row = Readonly<Record<string, unknown>>
type Ask = (text: string, parameters?: ReadonlyArray<unknown>) => Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError>

/** One connection, whose temporary tables last as long as it. Asked again for a while: the server may have come back just now. */
export const session = (url: Redacted.Redacted<string>) =>
  Effect.gen(function* () {
    const client = ClientPostgres.layer({ url, applicationName: "holdfast drill", statementDeadline: Duration.zero })
    const sql = Context.get(yield* Layer.build(client), SqlClient.SqlClient)
    const connection = yield* Effect.retry(sql.reserve, Schedule.spaced("1 second").pipe(Schedule.upTo({ times: 20 })))
    const ask: Ask = (text, parameters = []) => connection.executeUnprepared(text, parameters, undefined)
    return ask
  })

const one = (ask: Ask, text: string, parameters: ReadonlyArray<unknown> = []) =>
  Effect.map(ask(text, parameters), ([row]) => row ?? {})

/** Rows with a `name`: how many, and the first few. */
const found = (ask: Ask, rows: string, parameters: ReadonlyArray<unknown> = []) =>
  Effect.map(
    ask(
      `SELECT name::text AS name, count(*) OVER () AS count FROM (${rows}) AS found LIMIT ${DrillLoad.auditExamplesMax}`,
      parameters
    ),
    (rows): Found => ({ count: Number(rows[0]?.count ?? 0), examples: rows.map(({ name }) => String(name)) })
  )

const eachBatch = <A, E>(
  batches: AsyncIterable<ReadonlyArray<A>>,
  use: (batch: ReadonlyArray<A>) => Effect.Effect<unknown, E>
) =>
  Stream.runForEach(
    Stream.fromAsyncIterable(batches, (cause) => new Error(String(cause))),
    use
  )
