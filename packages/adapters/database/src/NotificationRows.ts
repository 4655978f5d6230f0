// Notifications in the read database: how they are kept, how they are marked as read, and how a page of them is read. Keeping and marking
// commute: what is marked before it is known becomes a row without a kind, and a position up to which somebody has read is remembered for
// rows that come later.
import { Notifications as Limits } from "@holdfast/resilience/Limits"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import type {
  NotificationPage,
  NotificationPageRequest,
  NotificationRecord,
  NotificationsSeen,
  PersonJson,
  ReadChanges
} from "./ReadTables.ts"

/** Within the transaction of the views. */
export const saveNotifications = Effect.fnUntraced(function* ({ notifications, notificationsSeen }: ReadChanges) {
  if (notifications.length === 0 && notificationsSeen.length === 0) return
  yield* keep(notifications)
  yield* Effect.forEach(notificationsSeen, markSeen, { discard: true })
  yield* trim([
    ...new Set([
      ...notifications.map(({ recipientId }) => recipientId),
      ...notificationsSeen.map(({ principalId }) => principalId)
    ])
  ])
})

const keep = Effect.fnUntraced(function* (notifications: ReadChanges["notifications"]) {
  if (notifications.length === 0) return
  const sql = yield* SqlClient.SqlClient
  const rows = notifications.map(({ actor, fileId, ticketId, visibility, ...row }) => ({
    principal_id: row.recipientId,
    event_id: row.eventId,
    position: row.position,
    kind: row.kind,
    audience: visibility.audience,
    requester_id: visibility.requesterId,
    occurred_ms: row.occurredAtMs,
    doc: { actor, ticketId, fileId }
  }))
  yield* sql`
    INSERT INTO read.notification AS held (principal_id, event_id, position, kind, audience, requester_id, occurred_ms, doc, read_ms)
    SELECT n.*, CASE WHEN n.position <= r.read_up_to THEN r.read_ms END
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS n(principal_id text, event_id uuid, position bigint, kind text, audience text,
      requester_id text, occurred_ms bigint, doc jsonb)
      LEFT JOIN read.notification_reader r ON r.principal_id = n.principal_id
    ON CONFLICT (principal_id, event_id) DO UPDATE SET position = excluded.position, kind = excluded.kind, audience = excluded.audience,
      requester_id = excluded.requester_id, occurred_ms = excluded.occurred_ms, doc = excluded.doc,
      read_ms = coalesce(held.read_ms, excluded.read_ms)
    WHERE held.kind IS NULL`
})

const markSeen = Effect.fnUntraced(function* (seen: NotificationsSeen) {
  if (seen.upTo !== null) yield* markSeenUpTo(seen, Math.min(seen.upTo, seen.position))
  if (seen.eventIds.length > 0) yield* markSeenEvents(seen)
})

/** Nobody has read what came after they said so. */
const markSeenUpTo = Effect.fnUntraced(function* ({ atMs, principalId }: NotificationsSeen, upTo: number) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    INSERT INTO read.notification_reader AS held (principal_id, read_up_to, read_ms)
    VALUES (${principalId}, ${upTo}::bigint, ${Math.round(atMs)}::bigint)
    ON CONFLICT (principal_id) DO UPDATE SET read_up_to = excluded.read_up_to, read_ms = excluded.read_ms
    WHERE held.read_up_to < excluded.read_up_to`
  yield* sql`
    UPDATE read.notification SET read_ms = ${Math.round(atMs)}::bigint
    WHERE principal_id = ${principalId} AND position <= ${upTo}::bigint AND read_ms IS NULL`
})

const markSeenEvents = Effect.fnUntraced(function* ({ atMs, eventIds, position, principalId }: NotificationsSeen) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    INSERT INTO read.notification AS held (principal_id, event_id, position, occurred_ms, read_ms)
    SELECT DISTINCT ${principalId}, value::uuid, ${position}::bigint, ${Math.round(atMs)}::bigint, ${Math.round(atMs)}::bigint
    FROM jsonb_array_elements_text(${JSON.stringify(eventIds)}::jsonb)
    ON CONFLICT (principal_id, event_id) DO UPDATE SET read_ms = coalesce(held.read_ms, excluded.read_ms)`
})

const trim = Effect.fnUntraced(function* (principalIds: ReadonlyArray<string>) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    DELETE FROM read.notification n USING (
      SELECT p.id, (
        SELECT position FROM read.notification WHERE principal_id = p.id ORDER BY position DESC OFFSET ${Limits.keptMax}::int LIMIT 1
      ) AS beyond
      FROM jsonb_array_elements_text(${JSON.stringify(principalIds)}::jsonb) AS p(id)
    ) kept WHERE n.principal_id = kept.id AND n.position <= kept.beyond`
})

export const sweepNotifications = Effect.fnUntraced(function* (beforeMs: number, countMax: number) {
  const sql = yield* SqlClient.SqlClient
  const gone = yield* sql`
    DELETE FROM read.notification WHERE ctid IN (
      SELECT ctid FROM read.notification WHERE occurred_ms < ${Math.round(beforeMs)}::bigint
      ORDER BY occurred_ms LIMIT ${countMax}::int
    ) RETURNING 1`
  return gone.length
})

interface NotificationColumns {
  readonly event_id: string | null
  readonly at: number
  readonly kind: NotificationRecord["kind"]
  readonly occurred_ms: number
  readonly read_ms: number | null
  readonly doc: { readonly actor: PersonJson; readonly ticketId: string | null; readonly fileId: string | null }
  readonly unread: number
}

/** One more than asked for, to know whether there is a next page. */
export const selectNotifications = Effect.fnUntraced(function* <State extends object>(
  stateColumns: string,
  { before, first, reader, unreadOnly }: NotificationPageRequest
) {
  const sql = yield* SqlClient.SqlClient
  const own = sql.and([
    sql`n.principal_id = ${reader.id}`,
    sql.literal("n.kind IS NOT NULL"),
    sql.literal(reader.isStaff ? "true" : "n.audience = 'public' AND n.requester_id = n.principal_id")
  ])
  const asked = sql.and([
    own,
    ...(unreadOnly ? [sql.literal("n.read_ms IS NULL")] : []),
    ...(before === null ? [] : [sql`n.position < ${before}::bigint`])
  ])
  return yield* sql<State & NotificationColumns>`
    SELECT ${sql.literal(stateColumns)}, page.*,
      (SELECT count(*)::int FROM read.notification n WHERE ${own} AND n.read_ms IS NULL) AS unread
    FROM read.projection_state s LEFT JOIN LATERAL (
      SELECT event_id, n.position::float8 AS at, kind, occurred_ms::float8 AS occurred_ms, read_ms::float8 AS read_ms, doc
      FROM read.notification n WHERE ${asked} ORDER BY n.position DESC LIMIT ${first + 1}
    ) page ON true
    WHERE s.group_name = 'views'`
})

export const pageOfNotifications = (rows: ReadonlyArray<NotificationColumns>, first: number): NotificationPage => {
  const notifications = rows.flatMap(({ at, doc, event_id, kind, occurred_ms, read_ms }): Array<NotificationRecord> => {
    if (event_id === null) return []
    return [{ eventId: event_id, position: at, kind, ...doc, occurredAtMs: occurred_ms, readAtMs: read_ms }]
  })
  return {
    notifications: notifications.slice(0, first),
    hasNextPage: notifications.length > first,
    unreadCount: rows[0]?.unread ?? 0
  }
}
