// The queries on PostgreSQL. Each is one statement that begins at the row which says how far the views have come, so that the answer and
// its freshness are of one snapshot, and an empty answer has one too.
import type { TicketListName } from "@holdfast/contracts/ticket/Views"
import { DateTime, Effect, Layer } from "effect"
import { SqlClient, type Statement } from "effect/sql"
import { ReadDatabase } from "./Database.ts"
import { pageOfNotifications, selectNotifications } from "./NotificationRows.ts"
import {
  type Conversation,
  type ConversationRequest,
  type FileJson,
  type MessageJson,
  type NotificationPageRequest,
  type PersonJson,
  type Read,
  type Reader,
  ReadTables,
  type SearchRequest,
  type TicketJson,
  type TicketPage,
  type TicketPageRequest,
  type TicketRecord
} from "./ReadTables.ts"

export const layer = Layer.effect(
  ReadTables,
  Effect.map(ReadDatabase, ({ run }) =>
    ReadTables.of({
      tickets: (request) => run(tickets(request)),
      ticketsByIds: (ids) => run(ticketsByIds(ids)),
      conversations: (requests) => run(conversations(requests)),
      files: (ids) => run(files(ids)),
      ticketsShowingFile: (fileId, requesterId) => run(ticketsShowingFile(fileId, requesterId)),
      search: (request) => run(search(request)),
      volume: (fromMs, hours) => run(volume(fromMs, hours)),
      notifications: (request) => run(notifications(request))
    })
  )
)

interface StateColumns {
  readonly position: number
  readonly as_of_ms: number
}

const stateColumns = "s.position::float8 AS position, s.as_of_ms::float8 AS as_of_ms"

interface TicketColumns {
  readonly ticket: TicketJson | null
  readonly assignee_name: string | null
  readonly assignee_email: string | null
}

const ticketColumns = "t.doc AS ticket, p.name AS assignee_name, p.email AS assignee_email"

const readOf = <Row extends StateColumns, A>(
  rows: ReadonlyArray<Row>,
  value: (rows: ReadonlyArray<Row>) => A
): Read<A> => {
  const [state] = rows
  if (state === undefined) throw new Error("read.projection_state has no row for the views: the migration did not run")
  return { value: value(rows), position: state.position, asOfMs: state.as_of_ms }
}

const recordsOf = (rows: ReadonlyArray<TicketColumns>): ReadonlyArray<TicketRecord> =>
  rows.flatMap((row) => (row.ticket === null ? [] : [{ ticket: row.ticket, assignee: assigneeOf(row.ticket, row) }]))

const assigneeOf = ({ assigneeId }: TicketJson, row: TicketColumns): PersonJson | null => {
  if (assigneeId === null) return null
  return {
    id: assigneeId,
    ...(row.assignee_name === null ? {} : { name: row.assignee_name }),
    ...(row.assignee_email === null ? {} : { email: row.assignee_email })
  }
}

const unsolved = "t.status NOT IN ('solved', 'closed')"

const listConditions: Readonly<Record<TicketListName, string>> = {
  all: "true",
  open: unsolved,
  unassigned: `${unsolved} AND t.assignee_id IS NULL`,
  solved: `NOT (${unsolved})`,
  mine: unsolved
}

const inList = (sql: SqlClient.SqlClient, list: TicketListName, reader: Reader): Statement.Fragment =>
  sql.and([
    sql.literal(listConditions[list]),
    ...(list === "mine" ? [sql`t.assignee_id = ${reader.id}`] : []),
    ...(reader.isStaff ? [] : [sql`t.requester_id = ${reader.id}`])
  ])

const tickets = Effect.fnUntraced(function* ({ after, first, list, reader, withCount }: TicketPageRequest) {
  const sql = yield* SqlClient.SqlClient
  const where = inList(sql, list, reader)
  const time = sql.literal(reader.isStaff ? "t.updated_ms" : "t.public_updated_ms")
  const count = withCount
    ? sql`(SELECT count(*) FROM read.ticket t WHERE ${where})::float8`
    : sql.literal("NULL::float8")
  const beyond =
    after === null ? sql.literal("") : sql`AND (${time}, t.id) < (${after.updatedMs}::bigint, ${after.id}::uuid)`
  const rows = yield* sql<StateColumns & TicketColumns & { readonly total: number | null }>`
    SELECT ${sql.literal(stateColumns)}, ${count} AS total, page.*
    FROM read.projection_state s LEFT JOIN LATERAL (
      SELECT ${sql.literal(ticketColumns)}
      FROM (SELECT * FROM read.ticket t WHERE ${where} ${beyond} ORDER BY ${time} DESC, t.id DESC LIMIT ${first + 1}) t
        LEFT JOIN read.person p ON p.id = t.assignee_id
      ORDER BY ${time} DESC, t.id DESC
    ) page ON true
    WHERE s.group_name = 'views'`
  return readOf(rows, (all): TicketPage => {
    const records = recordsOf(all)
    return { tickets: records.slice(0, first), hasNextPage: records.length > first, totalCount: all[0]?.total ?? null }
  })
})

const ticketsByIds = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<StateColumns & TicketColumns>`
    SELECT ${sql.literal(stateColumns)}, ${sql.literal(ticketColumns)}
    FROM read.projection_state s
      LEFT JOIN read.ticket t ON t.id IN (SELECT value::uuid FROM jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb))
      LEFT JOIN read.person p ON p.id = t.assignee_id
    WHERE s.group_name = 'views'`
  return readOf(rows, recordsOf)
})

const conversations = Effect.fnUntraced(function* (requests: ReadonlyArray<ConversationRequest>) {
  const sql = yield* SqlClient.SqlClient
  const asked = JSON.stringify(requests.map((request, index) => ({ ...request, index })))
  const rows = yield* sql<StateColumns & { readonly index: number | null; readonly message: MessageJson | null }>`
    SELECT ${sql.literal(stateColumns)}, found.index, found.message
    FROM read.projection_state s LEFT JOIN LATERAL (
      SELECT r.index, m.doc AS message
      FROM jsonb_to_recordset(${asked}::jsonb) AS r(index int, "ticketId" uuid, after uuid, first int, internal boolean)
      CROSS JOIN LATERAL (
        SELECT doc, version FROM read.message
        WHERE ticket_id = r."ticketId" AND (r.internal OR audience = 'public')
          AND version > coalesce((SELECT a.version FROM read.message a WHERE a.id = r.after AND a.ticket_id = r."ticketId"), 0)
        ORDER BY version LIMIT r.first + 1
      ) m
      ORDER BY r.index, m.version
    ) found ON true
    WHERE s.group_name = 'views'`
  return readOf(rows, (all) => {
    const byRequest = Map.groupBy(all, (row) => row.index)
    return requests.map(({ first }, index): Conversation => {
      const messages = (byRequest.get(index) ?? []).flatMap((row) => (row.message === null ? [] : [row.message]))
      return { messages: messages.slice(0, first), hasNextPage: messages.length > first }
    })
  })
})

const files = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<StateColumns & { readonly file: FileJson | null }>`
    SELECT ${sql.literal(stateColumns)}, f.doc AS file
    FROM read.projection_state s
      LEFT JOIN read.file f ON f.id IN (SELECT value::uuid FROM jsonb_array_elements_text(${JSON.stringify(ids)}::jsonb))
    WHERE s.group_name = 'views'`
  return readOf(rows, (all) => all.flatMap(({ file }) => (file === null ? [] : [file])))
})

/** Found among the tickets of one person, so it needs no index of its own. */
const ticketsShowingFile = Effect.fnUntraced(function* (fileId: string, requesterId: string) {
  const sql = yield* SqlClient.SqlClient
  const attachment = JSON.stringify([{ fileId, audience: "public" }])
  const rows = yield* sql<StateColumns & TicketColumns>`
    SELECT ${sql.literal(stateColumns)}, ${sql.literal(ticketColumns)}
    FROM read.projection_state s
      LEFT JOIN read.ticket t ON t.requester_id = ${requesterId} AND t.doc->'attachments' @> ${attachment}::jsonb
      LEFT JOIN read.person p ON p.id = t.assignee_id
    WHERE s.group_name = 'views'`
  return readOf(rows, recordsOf)
})

/** Messages looked at for one search: a very common word is cut off rather than allowed to take the server's time. */
const candidatesMax = 5_000
/** A ticket found by its number, and one whose subject only resembles the question. */
const numberRank = 100
const resemblanceRank = 0.001

const search = Effect.fnUntraced(function* ({ first, offset, reader, words }: SearchRequest) {
  const sql = yield* SqlClient.SqlClient
  const query = words.map((word) => `'${word.replaceAll("'", "")}':*`).join(" & ")
  const number = words.length === 1 && /^[0-9]{1,9}$/.test(words[0] ?? "") ? Number(words[0]) : null
  const own = reader.isStaff ? sql.literal("true") : sql`requester_id = ${reader.id}`
  const audience = sql.literal(reader.isStaff ? "true" : "audience = 'public'")
  const rows = yield* sql<
    StateColumns & TicketColumns & { readonly body: string | null; readonly rank: number | null }
  >`
    SELECT ${sql.literal(stateColumns)}, found.*
    FROM read.projection_state s LEFT JOIN LATERAL (
      WITH hit AS (
        (SELECT ticket_id, id AS message_id, ts_rank(words, to_tsquery('simple', ${query})) AS rank
          FROM read.message WHERE words @@ to_tsquery('simple', ${query}) AND ${own} AND ${audience} LIMIT ${candidatesMax})
        UNION ALL SELECT id, NULL, ${numberRank} FROM read.ticket WHERE number = ${number}::int AND ${own}
        UNION ALL (SELECT id, NULL, ${resemblanceRank} FROM read.ticket
          WHERE read.resembles(${words.join(" ")}, subject_words) AND ${own} LIMIT ${candidatesMax})
      ), best AS (
        SELECT ticket_id, sum(rank)::float8 AS rank, (array_agg(message_id ORDER BY rank DESC) FILTER (WHERE message_id IS NOT NULL))[1] AS message_id
        FROM hit GROUP BY ticket_id
      )
      SELECT ${sql.literal(ticketColumns)}, m.doc->>'body' AS body, best.rank
      FROM best JOIN read.ticket t ON t.id = best.ticket_id
        LEFT JOIN read.message m ON m.id = best.message_id
        LEFT JOIN read.person p ON p.id = t.assignee_id
      ORDER BY best.rank DESC, t.public_updated_ms DESC, t.id DESC LIMIT ${first} OFFSET ${offset}
    ) found ON true
    WHERE s.group_name = 'views'`
  return readOf(rows, (all) =>
    all.flatMap(({ body, rank, ...row }) =>
      recordsOf([row]).map((record) => ({ ...record, body: body ?? "", rank: rank ?? 0 }))
    )
  )
})

const volume = Effect.fnUntraced(function* (fromMs: number, hours: number) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<
    StateColumns & {
      readonly hour: Date | null
      readonly opened: number
      readonly solved: number
      readonly replies: number
    }
  >`
    SELECT ${sql.literal(stateColumns)}, v.*
    FROM read.projection_state s LEFT JOIN read.volume_hourly v
      ON v.hour >= to_timestamp(${fromMs / 1000}::float8) AND v.hour < to_timestamp(${fromMs / 1000}::float8) + ${hours}::int * interval '1 hour'
    WHERE s.group_name = 'views' ORDER BY v.hour`
  return readOf(rows, (all) =>
    all.flatMap(({ hour, opened, replies, solved }) =>
      hour === null ? [] : [{ hour: DateTime.formatIso(DateTime.fromDateUnsafe(hour)), opened, solved, replies }]
    )
  )
})

const notifications = Effect.fnUntraced(function* (request: NotificationPageRequest) {
  const rows = yield* selectNotifications<StateColumns>(stateColumns, request)
  return readOf(rows, (all) => pageOfNotifications(all, request.first))
})
