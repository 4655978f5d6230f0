// The queue of each webhook endpoint. Rows are claimed for a while by whoever sends them, so that several processes may send; a claim
// that nobody finished runs out and the event is sent again.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { EventId } from "@holdfast/contracts/Ids"
import { Webhooks as Limits, Sweep } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Database } from "./Database.ts"
import { type EventRow, eventColumns, toEnvelope } from "./EventLogRows.ts"

export interface DueDelivery {
  readonly envelope: Envelope
  /** Attempts before this one. */
  readonly attempts: number
  readonly ageMs: number
}

export class WebhookDeliveries extends Context.Service<
  WebhookDeliveries,
  {
    /** Repeating it for the same event changes nothing. */
    enqueue(endpoints: ReadonlyArray<string>, envelope: Envelope): Effect.Effect<void, Unavailable>
    /** Those of this endpoint that are due, oldest first; the caller's until `Limits.Webhooks.claim` has passed. */
    claim(endpoint: string, countMax: number): Effect.Effect<ReadonlyArray<DueDelivery>, Unavailable>
    delivered(endpoint: string, eventId: EventId): Effect.Effect<void, Unavailable>
    /** With no further attempt it stays as failed, for an operator to see. */
    failed(
      endpoint: string,
      eventId: EventId,
      error: string,
      retryAfter: Duration.Duration | null
    ): Effect.Effect<void, Unavailable>
    /** Forgets old deliveries that are done or given up, some at a time; how many. */
    readonly sweep: Effect.Effect<number, Unavailable>
  }
>()("@holdfast/database/WebhookDeliveries") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Database, (database) => ({
      enqueue: (endpoints, envelope) => database.run(enqueue(endpoints, envelope)),
      claim: (endpoint, countMax) => database.run(claim(endpoint, countMax)),
      delivered: (endpoint, eventId) => database.run(delivered(endpoint, eventId)),
      failed: (endpoint, eventId, error, retryAfter) => database.run(failed(endpoint, eventId, error, retryAfter)),
      sweep: Effect.withSpan(database.run(sweep), "WebhookDeliveries.sweep")
    }))
  )
}

const enqueue = Effect.fnUntraced(function* (endpoints: ReadonlyArray<string>, envelope: Envelope) {
  if (endpoints.length === 0) return
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    INSERT INTO core.webhook_delivery (endpoint, event_id, position)
    SELECT endpoint, ${envelope.eventId}, ${envelope.position}
    FROM jsonb_array_elements_text(${JSON.stringify(endpoints)}::jsonb) AS endpoint
    ON CONFLICT DO NOTHING`
})

const claim = Effect.fnUntraced(function* (endpoint: string, countMax: number) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<EventRow & { readonly attempts: number; readonly age_ms: number }>`
    WITH due AS (
      SELECT endpoint, event_id FROM core.webhook_delivery
      WHERE endpoint = ${endpoint} AND state = 'pending' AND next_attempt_at <= now()
      ORDER BY next_attempt_at, position LIMIT ${countMax} FOR UPDATE SKIP LOCKED
    ), claimed AS (
      UPDATE core.webhook_delivery AS d SET next_attempt_at = now() + ${Duration.toSeconds(Limits.claim)} * interval '1 second'
      FROM due WHERE d.endpoint = due.endpoint AND d.event_id = due.event_id
      RETURNING d.position, d.attempts, d.created_at
    )
    SELECT ${sql.literal(eventColumns)}, claimed.attempts,
      (extract(epoch FROM now() - claimed.created_at) * 1000)::float8 AS age_ms
    FROM claimed JOIN core.event_log AS e ON e.position = claimed.position ORDER BY e.position`
  return rows.map((row): DueDelivery => ({ envelope: toEnvelope(row), attempts: row.attempts, ageMs: row.age_ms }))
})

const delivered = Effect.fnUntraced(function* (endpoint: string, eventId: EventId) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    UPDATE core.webhook_delivery
    SET state = 'delivered', attempts = attempts + 1, delivered_at = now(), last_error = NULL
    WHERE endpoint = ${endpoint} AND event_id = ${eventId}`
})

const failed = Effect.fnUntraced(function* (
  endpoint: string,
  eventId: EventId,
  error: string,
  retryAfter: Duration.Duration | null
) {
  const sql = yield* SqlClient.SqlClient
  const seconds = retryAfter === null ? 0 : Duration.toSeconds(retryAfter)
  yield* sql`
    UPDATE core.webhook_delivery
    SET state = ${retryAfter === null ? "failed" : "pending"}, attempts = attempts + 1,
      next_attempt_at = now() + ${seconds} * interval '1 second', last_error = ${error.slice(0, Limits.errorLengthMax)}
    WHERE endpoint = ${endpoint} AND event_id = ${eventId}`
})

const sweep = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql`
    DELETE FROM core.webhook_delivery WHERE ctid IN (
      SELECT ctid FROM core.webhook_delivery WHERE state <> 'pending'
        AND created_at < now() - ${Duration.toSeconds(Sweep.keepFor)} * interval '1 second' LIMIT ${Sweep.rowsMax}
    ) RETURNING 1`
  return rows.length
})
