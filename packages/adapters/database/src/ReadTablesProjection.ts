// What the views' consumer writes. Rows travel as one JSON parameter per table, so one prepared statement serves every batch. The row of
// `projection_state` is locked first: writers in several processes take turns, and how far the views have come never goes back.
import { Database as Limits, Views } from "@holdfast/resilience/Limits"
import { type Advance, type Applied, advance, type Progress } from "@holdfast/resilience/Progress"
import { DateTime, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { ReadDatabase } from "./Database.ts"
import { saveNotifications, sweepNotifications } from "./NotificationRows.ts"
import { type FileJson, type ReadChanges, ReadProjection, type TicketJson } from "./ReadTables.ts"
import { transaction } from "./Transaction.ts"

export const layer = Layer.effect(
  ReadProjection,
  Effect.map(ReadDatabase, ({ run }) =>
    ReadProjection.of({
      load: (ids) => run(load(ids)),
      save: (changes, change) =>
        Effect.withSpan(
          run(transaction(save(changes, change)), { deadline: Limits.projectionDeadline }),
          "ReadProjection.save"
        ),
      progress: run(progress),
      sweepNotifications: (beforeMs, countMax) => run(sweepNotifications(beforeMs, countMax))
    })
  )
)

const load = Effect.fnUntraced(function* (ids: {
  readonly tickets: ReadonlyArray<string>
  readonly files: ReadonlyArray<string>
}) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly ticket: TicketJson | null; readonly file: FileJson | null }>`
    SELECT doc AS ticket, NULL::jsonb AS file FROM read.ticket
      WHERE id IN (SELECT value::uuid FROM jsonb_array_elements_text(${JSON.stringify(ids.tickets)}::jsonb))
    UNION ALL SELECT NULL, doc FROM read.file
      WHERE id IN (SELECT value::uuid FROM jsonb_array_elements_text(${JSON.stringify(ids.files)}::jsonb))`
  return {
    tickets: rows.flatMap(({ ticket }) => (ticket === null ? [] : [ticket])),
    files: rows.flatMap(({ file }) => (file === null ? [] : [file]))
  }
})

const save = Effect.fnUntraced(function* (changes: ReadChanges, change: Advance) {
  const { ahead, state } = yield* locked
  const sql = yield* SqlClient.SqlClient
  yield* Effect.all([saveTickets(changes), saveMessages(changes), saveFiles(changes), savePeople(changes)], {
    discard: true
  })
  yield* saveNotifications(changes)
  const after = advance({ reached: { position: state.position, asOfMs: state.as_of_ms }, ahead }, change)
  const position = after.reached?.position ?? state.position
  const movedAtMs = position === state.position ? state.moved_at_ms : change.nowMs
  yield* sql`
    UPDATE read.projection_state
    SET position = ${position}::bigint, as_of_ms = ${Math.round(after.reached?.asOfMs ?? 0)}::bigint, moved_at_ms = ${Math.round(movedAtMs)}::bigint
    WHERE group_name = 'views'`
  yield* saveAhead(ahead, after.ahead)
})

interface StateRow {
  readonly position: number
  readonly as_of_ms: number
  readonly moved_at_ms: number
}

// Only the first of those that wait: a long wait must not make every batch pay for all of it. What comes after them is next.
const locked = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [state] = yield* sql<StateRow>`
    SELECT position::float8 AS position, as_of_ms::float8 AS as_of_ms, moved_at_ms::float8 AS moved_at_ms
    FROM read.projection_state WHERE group_name = 'views' FOR UPDATE`
  if (state === undefined) return yield* Effect.die(new Error("read.projection_state has no row for the views"))
  const rows = yield* sql<{ readonly position: number; readonly occurred_at_ms: number }>`
    SELECT position::float8 AS position, occurred_at_ms::float8 AS occurred_at_ms
    FROM read.projection_ahead WHERE group_name = 'views' ORDER BY position LIMIT ${Views.aheadReadMax}`
  const ahead = rows.map((row): Applied => ({ position: row.position, occurredAtMs: row.occurred_at_ms }))
  return { state, ahead }
})

const saveAhead = Effect.fnUntraced(function* (before: ReadonlyArray<Applied>, after: ReadonlyArray<Applied>) {
  const sql = yield* SqlClient.SqlClient
  const held = new Set(before.map(({ position }) => position))
  const kept = new Set(after.map(({ position }) => position))
  const gone = [...held].filter((position) => !kept.has(position))
  const added = after.filter(({ position }) => !held.has(position))
  if (gone.length > 0) {
    yield* sql`DELETE FROM read.projection_ahead WHERE group_name = 'views'
      AND position IN (SELECT value::bigint FROM jsonb_array_elements_text(${JSON.stringify(gone)}::jsonb))`
  }
  if (added.length > 0) {
    yield* sql`INSERT INTO read.projection_ahead (group_name, position, occurred_at_ms)
      SELECT 'views', position, "occurredAtMs" FROM jsonb_to_recordset(${JSON.stringify(added)}::jsonb) AS a(position bigint, "occurredAtMs" bigint)
      ON CONFLICT DO NOTHING`
  }
})

const epochMs = (iso: string): number => DateTime.toEpochMillis(DateTime.makeUnsafe(iso))

const saveTickets = Effect.fnUntraced(function* ({ tickets }: ReadChanges) {
  if (tickets.length === 0) return
  const sql = yield* SqlClient.SqlClient
  const rows = tickets.map(({ subjectWords, ticket }) => ({
    id: ticket.id,
    version: ticket.version,
    number: ticket.number,
    status: ticket.status,
    requester_id: ticket.requester.id,
    assignee_id: ticket.assigneeId,
    updated_ms: epochMs(ticket.updatedAt),
    public_updated_ms: epochMs(ticket.publicUpdatedAt),
    subject_words: subjectWords.join(" "),
    doc: ticket
  }))
  yield* sql`
    INSERT INTO read.ticket AS held (id, version, number, status, requester_id, assignee_id, updated_ms, public_updated_ms, subject_words, doc)
    SELECT * FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS t(id uuid, version int, number int, status text, requester_id text,
      assignee_id text, updated_ms bigint, public_updated_ms bigint, subject_words text, doc jsonb)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, status = excluded.status, assignee_id = excluded.assignee_id,
      updated_ms = excluded.updated_ms, public_updated_ms = excluded.public_updated_ms, doc = excluded.doc
    WHERE held.version < excluded.version`
})

const saveMessages = Effect.fnUntraced(function* ({ messages }: ReadChanges) {
  if (messages.length === 0) return
  const sql = yield* SqlClient.SqlClient
  const rows = messages.map(({ message, requesterId, words }) => ({
    id: message.id,
    ticket_id: message.ticketId,
    version: message.version,
    audience: message.audience,
    requester_id: requesterId,
    words: words.join(" "),
    doc: message
  }))
  yield* sql`
    INSERT INTO read.message (id, ticket_id, version, audience, requester_id, words, doc)
    SELECT id, ticket_id, version, audience, requester_id, to_tsvector('simple', words), doc
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS m(id uuid, ticket_id uuid, version int, audience text, requester_id text, words text, doc jsonb)
    ON CONFLICT DO NOTHING`
})

const saveFiles = Effect.fnUntraced(function* ({ files }: ReadChanges) {
  if (files.length === 0) return
  const sql = yield* SqlClient.SqlClient
  const rows = files.map((file) => ({
    id: file.id,
    version: file.version,
    owner_id: file.ownerId,
    ticket_id: file.ticketId,
    state: file.state,
    doc: file
  }))
  yield* sql`
    INSERT INTO read.file AS held (id, version, owner_id, ticket_id, state, doc)
    SELECT * FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS f(id uuid, version int, owner_id text, ticket_id uuid, state text, doc jsonb)
    ON CONFLICT (id) DO UPDATE SET version = excluded.version, state = excluded.state, doc = excluded.doc
    WHERE held.version < excluded.version`
})

const savePeople = Effect.fnUntraced(function* ({ people }: ReadChanges) {
  if (people.length === 0) return
  const sql = yield* SqlClient.SqlClient
  const rows = people.map(({ person, position, role }) => ({ ...person, position, role }))
  yield* sql`
    INSERT INTO read.person AS held (id, position, name, email, role)
    SELECT id, position, name, email, role
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS p(id text, position bigint, name text, email text, role text)
    ON CONFLICT (id) DO UPDATE SET position = excluded.position, name = coalesce(excluded.name, held.name),
      email = coalesce(excluded.email, held.email), role = coalesce(excluded.role, held.role)
    WHERE held.position < excluded.position`
})

const progress = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql<StateRow & { readonly ahead_from: number | null }>`
    SELECT position::float8 AS position, as_of_ms::float8 AS as_of_ms, moved_at_ms::float8 AS moved_at_ms,
      (SELECT min(position)::float8 FROM read.projection_ahead WHERE group_name = 'views') AS ahead_from
    FROM read.projection_state WHERE group_name = 'views'`
  if (row === undefined) return yield* Effect.die(new Error("read.projection_state has no row for the views"))
  return {
    position: row.position,
    asOfMs: row.as_of_ms,
    movedAtMs: row.moved_at_ms,
    aheadFrom: row.ahead_from
  } satisfies Progress
})
