// A row of the event log as the envelope that its readers get. What cannot be read was written by a newer version of the desk, or by
// nobody: a broken invariant, so it dies with the place where it stands.
import { Envelope } from "@holdfast/contracts/Envelope"
import { type EventData, eventVersions } from "@holdfast/contracts/EventVersions"
import { Result, Schema, Struct } from "effect"
import { awaitStandby } from "./Standby.ts"

export interface EventRow {
  readonly event_id: string
  readonly stream_type: string
  readonly stream_id: string
  readonly stream_version: number
  readonly type: string
  readonly schema_version: number
  readonly data: EventData
  readonly principal: unknown
  readonly command_id: string
  readonly correlation_id: string
  readonly causation_id: string | null
  readonly traceparent: string | null
  readonly visibility: unknown
  readonly occurred_at: Date
  readonly position: number
}

/**
 * What to select of `core.event_log AS e`; a position is exact as a double up to 2^53. What is read here goes out of the database and cannot be
 * called back, so events that a synchronous standby has not got yet are waited for, once per statement that finds any.
 */
export const eventColumns = `(SELECT ${awaitStandby}), e.event_id, e.stream_type, e.stream_id, e.stream_version, e.type, e.schema_version, e.data, e.principal,
  e.command_id, e.correlation_id, e.causation_id, e.traceparent, e.visibility, e.occurred_at, e.position::float8 AS position`

const decodeRest = Schema.decodeUnknownSync(Envelope.mapFields(Struct.omit(["event"])))

export const toEnvelope = (row: EventRow): Envelope => {
  try {
    const event = Result.getOrThrow(eventVersions.decode(row.type, row.schema_version, row.data))
    return { ...decodeRest(fieldsOf(row)), event }
  } catch (cause) {
    throw new Error(`the event at position ${row.position} cannot be read by this version of the desk`, { cause })
  }
}

const fieldsOf = (row: EventRow): Record<string, unknown> => ({
  eventId: row.event_id,
  streamType: row.stream_type,
  streamId: row.stream_id,
  streamVersion: row.stream_version,
  schemaVersion: row.schema_version,
  position: row.position,
  occurredAt: row.occurred_at.toISOString(),
  principal: row.principal,
  commandId: row.command_id,
  correlationId: row.correlation_id,
  causationId: row.causation_id,
  traceparent: row.traceparent,
  visibility: row.visibility
})
