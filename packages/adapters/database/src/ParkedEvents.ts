// Events that a consumer group could not handle, each with the later events of its stream, so that order within a stream outlives a
// poison event. `ParkedEvents` is for operators, `Parking` for the consumers. A stream is blocked for a group exactly while it has
// parked events; every change happens under that stream's row lock, so any process may park, replay and drop beside any other.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { EventId, Position, StreamId } from "@holdfast/contracts/Ids"
import { Parking as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, DateTime, Duration, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "./Database.ts"
import { type EventRow, eventColumns, toEnvelope } from "./EventLogRows.ts"
import { transaction } from "./Transaction.ts"

export interface ParkedEvent {
  readonly group: string
  readonly eventId: EventId
  readonly streamId: StreamId
  readonly position: Position
  readonly type: string
  /** Why it could not be handled, or that it waits behind one that could not. */
  readonly reason: string
  readonly attempts: number
  readonly parkedAt: DateTime.Utc
  /** Its stream was told to replay and has not finished. */
  readonly replaying: boolean
}

export interface ListOptions {
  readonly group?: string
  /** Those after this position; the position of the last one continues the list. */
  readonly after?: Position
  readonly countMax?: number
}

export class ParkedEvents extends Context.Service<
  ParkedEvents,
  {
    /** Ascending by position; at most `Limits.Parking.listMax`. */
    list(options?: ListOptions): Effect.Effect<ReadonlyArray<ParkedEvent>, Unavailable>
    /** The parked event with its envelope, once per group that parked it. */
    show(
      eventId: EventId
    ): Effect.Effect<ReadonlyArray<{ readonly parked: ParkedEvent; readonly envelope: Envelope }>, Unavailable>
    /** Hands the whole stream to its consumer again, in order and before newer events; how many events that is. */
    replay(group: string, streamId: StreamId): Effect.Effect<number, Unavailable>
    /** Gives the event up for good; the rest of its stream stays parked until replayed. False: it is not parked. */
    drop(group: string, eventId: EventId): Effect.Effect<boolean, Unavailable>
  }
>()("@holdfast/database/ParkedEvents") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Database, (database) => ({
      list: (options) => Effect.withSpan(database.run(list(options ?? {})), "ParkedEvents.list"),
      show: (eventId) => Effect.withSpan(database.run(show(eventId)), "ParkedEvents.show"),
      replay: (group, streamId) => Effect.withSpan(database.run(replay(group, streamId)), "ParkedEvents.replay"),
      drop: (group, eventId) => Effect.withSpan(database.run(transaction(drop(group, eventId))), "ParkedEvents.drop")
    }))
  )
}

export class Parking extends Context.Service<
  Parking,
  {
    blockedStreams(group: string): Effect.Effect<ReadonlySet<StreamId>, Unavailable>
    /** Parks the event and blocks its stream. Parking one again keeps the first. */
    park(group: string, envelope: Envelope, reason: string, attempts: number): Effect.Effect<void, Unavailable>
    /** Parks the event if its stream is still blocked; false: it is not, handle it. */
    parkBehind(group: string, envelope: Envelope): Effect.Effect<boolean, Unavailable>
    /** The first event of a stream that was told to replay and that nobody replays just now; the caller's for `Limits.Parking.lease`. */
    claimReplay(group: string): Effect.Effect<Option.Option<Envelope>, Unavailable>
    /** The event is handled: it is parked no longer, and after the last one its stream is not blocked. */
    resolve(group: string, envelope: Envelope): Effect.Effect<void, Unavailable>
    /** The replay met the same wall: everything stays parked, with this reason on the event. */
    giveBack(group: string, envelope: Envelope, reason: string): Effect.Effect<void, Unavailable>
  }
>()("@holdfast/database/Parking") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Database, (database) => ({
      blockedStreams: (group) => Effect.withSpan(database.run(blockedStreams(group)), "Parking.blockedStreams"),
      park: (group, envelope, reason, attempts) =>
        Effect.withSpan(database.run(transaction(park(group, envelope, reason, attempts))), "Parking.park"),
      parkBehind: (group, envelope) =>
        Effect.withSpan(database.run(transaction(parkBehind(group, envelope))), "Parking.parkBehind"),
      claimReplay: (group) => database.run(claimReplay(group)),
      resolve: (group, envelope) =>
        Effect.withSpan(database.run(transaction(resolve(group, envelope))), "Parking.resolve"),
      giveBack: (group, envelope, reason) =>
        Effect.withSpan(database.run(transaction(giveBack(group, envelope, reason))), "Parking.giveBack")
    }))
  )
}

interface ParkedRow {
  readonly group_name: string
  readonly event_id: string
  readonly stream_id: string
  readonly parked_position: number
  readonly parked_type: string
  readonly reason: string
  readonly attempts: number
  readonly parked_at: Date
  readonly replay: boolean
}

const parkedColumns = `p.group_name, p.event_id, p.stream_id, p.position::float8 AS parked_position, p.type AS parked_type,
  p.reason, p.attempts, p.parked_at, s.replay`

const toParked = (row: ParkedRow): ParkedEvent => ({
  group: row.group_name,
  eventId: EventId.make(row.event_id),
  streamId: StreamId.make(row.stream_id),
  position: Position.make(row.parked_position),
  type: row.parked_type,
  reason: row.reason,
  attempts: row.attempts,
  parkedAt: DateTime.fromDateUnsafe(row.parked_at),
  replaying: row.replay
})

const list = Effect.fnUntraced(function* (options: ListOptions) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<ParkedRow>`
    SELECT ${sql.literal(parkedColumns)}
    FROM core.parked_event AS p JOIN core.parked_stream AS s USING (group_name, stream_id)
    WHERE p.position > ${options.after ?? 0}
      AND (${options.group ?? null}::text IS NULL OR p.group_name = ${options.group ?? null})
    ORDER BY p.position, p.group_name LIMIT ${Math.min(options.countMax ?? Limits.listMax, Limits.listMax)}`
  return rows.map(toParked)
})

const show = Effect.fnUntraced(function* (eventId: EventId) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<ParkedRow & EventRow>`
    SELECT ${sql.literal(parkedColumns)}, ${sql.literal(eventColumns)}
    FROM core.parked_event AS p JOIN core.parked_stream AS s USING (group_name, stream_id)
      JOIN core.event_log AS e ON e.position = p.position
    WHERE p.event_id = ${eventId} ORDER BY p.group_name`
  return rows.map((row) => ({ parked: toParked(row), envelope: toEnvelope(row) }))
})

const replay = Effect.fnUntraced(function* (group: string, streamId: StreamId) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly count: number }>`
    WITH told AS (
      UPDATE core.parked_stream SET replay = true WHERE group_name = ${group} AND stream_id = ${streamId} RETURNING 1
    )
    SELECT count(*)::int AS count FROM core.parked_event, told WHERE group_name = ${group} AND stream_id = ${streamId}`
  return rows[0]?.count ?? 0
})

/** Removes one event, and unblocks its stream after the last. */
const drop = Effect.fnUntraced(function* (group: string, eventId: EventId) {
  const sql = yield* SqlClient.SqlClient
  const locked = yield* sql<{ readonly stream_id: string }>`
    SELECT s.stream_id FROM core.parked_stream AS s JOIN core.parked_event AS p USING (group_name, stream_id)
    WHERE p.group_name = ${group} AND p.event_id = ${eventId} FOR UPDATE OF s`
  const streamId = locked[0]?.stream_id
  if (streamId === undefined) return false
  yield* sql`DELETE FROM core.parked_event WHERE group_name = ${group} AND event_id = ${eventId}`
  yield* sql`
    DELETE FROM core.parked_stream AS s WHERE group_name = ${group} AND stream_id = ${streamId}
      AND NOT EXISTS (SELECT 1 FROM core.parked_event AS p WHERE p.group_name = s.group_name AND p.stream_id = s.stream_id)`
  return true
})

const resolve = Effect.fnUntraced(function* (group: string, envelope: Envelope) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    UPDATE core.parked_stream SET lease_until = NULL WHERE group_name = ${group} AND stream_id = ${envelope.streamId}`
  yield* drop(group, envelope.eventId)
})

const leaseSeconds = Duration.toSeconds(Limits.lease)

const blockedStreams = Effect.fnUntraced(function* (group: string) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly stream_id: string }>`
    SELECT stream_id FROM core.parked_stream WHERE group_name = ${group}`
  return new Set(rows.map((row) => StreamId.make(row.stream_id)))
})

const park = Effect.fnUntraced(function* (group: string, envelope: Envelope, reason: string, attempts: number) {
  const sql = yield* SqlClient.SqlClient
  // Updating a row to what it is takes its lock, which is what makes the two inserts one.
  yield* sql`
    INSERT INTO core.parked_stream AS s (group_name, stream_id) VALUES (${group}, ${envelope.streamId})
    ON CONFLICT (group_name, stream_id) DO UPDATE SET replay = s.replay`
  yield* insertParked(group, envelope, reason, attempts)
})

const parkBehind = Effect.fnUntraced(function* (group: string, envelope: Envelope) {
  const sql = yield* SqlClient.SqlClient
  const blocked = yield* sql`
    SELECT 1 FROM core.parked_stream WHERE group_name = ${group} AND stream_id = ${envelope.streamId} FOR UPDATE`
  if (blocked.length === 0) return false
  yield* insertParked(group, envelope, "waits behind an earlier event of its stream", 0)
  return true
})

const insertParked = Effect.fnUntraced(function* (group: string, envelope: Envelope, reason: string, attempts: number) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    INSERT INTO core.parked_event (group_name, event_id, stream_id, position, type, reason, attempts)
    VALUES (${group}, ${envelope.eventId}, ${envelope.streamId}, ${envelope.position}, ${envelope.event._tag},
      ${reason.slice(0, Limits.reasonLengthMax)}, ${attempts})
    ON CONFLICT (group_name, event_id) DO NOTHING`
})

const claimReplay = Effect.fnUntraced(function* (group: string) {
  const sql = yield* SqlClient.SqlClient
  const claimed = yield* sql<{ readonly stream_id: string }>`
    UPDATE core.parked_stream SET lease_until = now() + ${leaseSeconds} * interval '1 second'
    WHERE (group_name, stream_id) IN (
      SELECT group_name, stream_id FROM core.parked_stream
      WHERE group_name = ${group} AND replay AND (lease_until IS NULL OR lease_until < now())
      LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING stream_id`
  const streamId = claimed[0]?.stream_id
  if (streamId === undefined) return Option.none()
  const rows = yield* sql<EventRow>`
    SELECT ${sql.literal(eventColumns)}
    FROM core.parked_event AS p JOIN core.event_log AS e ON e.position = p.position
    WHERE p.group_name = ${group} AND p.stream_id = ${streamId} ORDER BY p.position LIMIT 1`
  return Option.map(Option.fromNullishOr(rows[0]), toEnvelope)
})

const giveBack = Effect.fnUntraced(function* (group: string, envelope: Envelope, reason: string) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    UPDATE core.parked_stream SET replay = false, lease_until = NULL
    WHERE group_name = ${group} AND stream_id = ${envelope.streamId}`
  yield* sql`
    UPDATE core.parked_event SET reason = ${reason.slice(0, Limits.reasonLengthMax)}, attempts = attempts + 1
    WHERE group_name = ${group} AND event_id = ${envelope.eventId}`
})
