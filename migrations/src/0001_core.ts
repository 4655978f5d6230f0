// The core schema: what a command writes. A receipt per accepted command, the state of each aggregate, the event log, and the numbers
// that people call tickets by. Nothing here is ever changed by a reader.
import { statements } from "./Statements.ts"

export default statements([
  `CREATE TABLE core.command_receipt (
    principal_id text NOT NULL,
    command_id uuid NOT NULL,
    fingerprint text NOT NULL,
    answer jsonb NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (principal_id, command_id)
  )`,
  // Receipts are written in the order in which they expire: a block range index finds the old ones at next to no cost per insert.
  `CREATE INDEX command_receipt_expires_at ON core.command_receipt USING brin (expires_at)`,

  `CREATE TABLE core.aggregate (
    stream_id uuid PRIMARY KEY,
    stream_type text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    state jsonb NOT NULL
  )`,

  `CREATE TABLE core.event_log (
    seq bigserial PRIMARY KEY,
    event_id uuid NOT NULL,
    stream_type text NOT NULL,
    stream_id uuid NOT NULL,
    stream_version integer NOT NULL CHECK (stream_version > 0),
    type text NOT NULL,
    schema_version integer NOT NULL,
    data jsonb NOT NULL,
    principal jsonb NOT NULL,
    command_id uuid NOT NULL,
    correlation_id uuid NOT NULL,
    causation_id uuid,
    traceparent text,
    visibility jsonb NOT NULL,
    occurred_at timestamptz NOT NULL,
    position bigint,
    UNIQUE (stream_id, stream_version),
    UNIQUE (position)
  )`,
  `CREATE INDEX event_log_unpositioned ON core.event_log (seq) WHERE position IS NULL`,

  `CREATE SEQUENCE core.ticket_number`
])
