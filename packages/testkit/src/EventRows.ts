// Events put straight into the log, as a command leaves them or as the relay does.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { eventData } from "@holdfast/contracts/EventVersions"
import { DateTime, Effect } from "effect"
import { SqlClient } from "effect/sql"

const insert = Effect.fnUntraced(function* (envelope: Envelope, positioned: boolean) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`INSERT INTO core.event_log (event_id, stream_type, stream_id, stream_version, type, schema_version, data, principal,
      command_id, correlation_id, causation_id, traceparent, visibility, occurred_at, position)
    VALUES (${envelope.eventId}, ${envelope.streamType}, ${envelope.streamId}, ${envelope.streamVersion}, ${envelope.event._tag},
      ${envelope.schemaVersion}, ${JSON.stringify(eventData(envelope.event))}::jsonb, ${JSON.stringify(envelope.principal)}::jsonb,
      ${envelope.commandId}, ${envelope.correlationId}, ${envelope.causationId}, ${envelope.traceparent},
      ${JSON.stringify(envelope.visibility)}::jsonb, ${DateTime.toDateUtc(envelope.occurredAt)},
      ${positioned ? envelope.position : null})
    ON CONFLICT DO NOTHING`
})

/** As a command leaves it. */
export const commit = (envelope: Envelope) => insert(envelope, false)

/** As the relay leaves them: positioned, and everybody told. */
export const commitPositioned = Effect.fnUntraced(function* (envelopes: ReadonlyArray<Envelope>) {
  const sql = yield* SqlClient.SqlClient
  yield* sql.withTransaction(Effect.forEach(envelopes, (envelope) => insert(envelope, true), { discard: true }))
  const last = Math.max(...envelopes.map(({ position }) => position))
  yield* sql`UPDATE core.relay_state SET last_position = greatest(last_position, ${last})`
  yield* sql`SELECT pg_notify('holdfast_position', ${String(last)})`
})
