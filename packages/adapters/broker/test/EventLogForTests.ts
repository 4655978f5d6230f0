// An event log of its own, in a database made for the test, and events put into it with the positions that they already have.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { eventData } from "@holdfast/contracts/EventVersions"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { Database } from "@holdfast/database/Database"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import { ParkedEvents, Parking } from "@holdfast/database/ParkedEvents"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { DateTime, Effect, Layer, type Redacted } from "effect"
import { SqlClient } from "effect/sql"

/** The core database as a process has it. */
export const databaseOn = (url: Redacted.Redacted<string>) =>
  Layer.mergeAll(EventLogPostgres.layer, ConsumerCursors.layer, Parking.layer, ParkedEvents.layer).pipe(
    Layer.provideMerge(Database.layer),
    Layer.provideMerge(ClientPostgres.layer({ url, applicationName: "test" })),
    Layer.provideMerge(Health.layer)
  )

export const databaseForTests = Layer.unwrap(Effect.map(migratedDatabase, databaseOn))

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
