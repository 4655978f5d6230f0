// The command store on PostgreSQL. A batch travels as one JSON parameter, so one prepared statement serves every batch size. A batch
// that the server refuses as a whole (a bug, or two processes that create the same aggregate at the same moment) is tried again
// command by command, so that one bad command never takes its neighbours with it.
import { CommandAccepted } from "@holdfast/contracts/Command"
import type { Visibility } from "@holdfast/contracts/Envelope"
import { eventData, eventVersions } from "@holdfast/contracts/EventVersions"
import { StreamVersion } from "@holdfast/contracts/Ids"
import { AggregateState } from "@holdfast/domain/Aggregates"
import { Commands } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { DateTime, Duration, Effect, Layer, Schema } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { type AppendOutcome, type CommandKey, CommandStore, type Decided, type Known } from "./CommandStore.ts"
import { Database } from "./Database.ts"
import { makeNumberStock } from "./NumberStock.ts"
import { isContention, toFailure } from "./SqlFailure.ts"
import { awaitStandby } from "./Standby.ts"

// Each lookup is LATERAL with a LIMIT, which the planner cannot turn into a scan of the whole table: the plan is kept by its connection, and
// would be made while the tables are still empty. A receipt is locked although it is only read: that makes the load wait for a synchronous
// standby like any write. A commit whose wait was cancelled is visible here and nowhere else, and who is told of it must be able to
// rely on it.
export const loadStatement = `
SELECT r.fingerprint, r.answer, a.stream_type, a.version, a.state
FROM jsonb_to_recordset($1::jsonb) AS k(ordinal int, principal_id text, command_id uuid, stream_id uuid)
LEFT JOIN LATERAL (
  SELECT fingerprint, answer FROM core.command_receipt
  WHERE principal_id = k.principal_id AND command_id = k.command_id LIMIT 1 FOR KEY SHARE
) r ON true
LEFT JOIN LATERAL (SELECT stream_type, version, state FROM core.aggregate WHERE stream_id = k.stream_id LIMIT 1) a ON true
ORDER BY k.ordinal`

export const appendStatement = `
WITH command AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset($1::jsonb) AS c(
    ordinal int, principal jsonb, principal_id text, command_id uuid, fingerprint text, answer jsonb, stream_type text, stream_id uuid,
    decided_version int, version int, state jsonb, correlation_id uuid, causation_id uuid, traceparent text, occurred_at timestamptz)
), locked AS MATERIALIZED (
  SELECT c.ordinal, coalesce(a.version, 0) AS version
  FROM (SELECT ordinal, stream_id FROM command ORDER BY stream_id) c
  LEFT JOIN LATERAL (SELECT version FROM core.aggregate WHERE stream_id = c.stream_id LIMIT 1 FOR UPDATE) a ON true
), unmoved AS (
  SELECT command.* FROM command JOIN locked USING (ordinal) WHERE command.decided_version = locked.version
), receipt AS (
  INSERT INTO core.command_receipt (principal_id, command_id, fingerprint, answer, expires_at)
  SELECT principal_id, command_id, fingerprint, answer, now() + $3::float8 * interval '1 second'
  FROM unmoved ORDER BY principal_id, command_id
  ON CONFLICT DO NOTHING
  RETURNING principal_id, command_id
), accepted AS (
  SELECT unmoved.* FROM unmoved JOIN receipt USING (principal_id, command_id)
), state_written AS (
  INSERT INTO core.aggregate (stream_id, stream_type, version, state)
  SELECT stream_id, stream_type, version, state FROM accepted WHERE version > decided_version
  ON CONFLICT (stream_id) DO UPDATE SET version = excluded.version, state = excluded.state
), events_written AS (
  INSERT INTO core.event_log (event_id, stream_type, stream_id, stream_version, type, schema_version, data, principal, command_id,
    correlation_id, causation_id, traceparent, visibility, occurred_at)
  SELECT e.event_id, a.stream_type, a.stream_id, e.stream_version, e.type, e.schema_version, e.data, a.principal, a.command_id,
    a.correlation_id, a.causation_id, a.traceparent, e.visibility, a.occurred_at
  FROM jsonb_to_recordset($2::jsonb) AS e(ordinal int, event_id uuid, stream_version int, type text, schema_version int, data jsonb, visibility jsonb)
  JOIN accepted a USING (ordinal)
  ORDER BY a.ordinal, e.stream_version
)
SELECT
  array(SELECT ordinal FROM unmoved) AS unmoved,
  array(SELECT ordinal FROM accepted) AS accepted,
  array(SELECT nextval('core.ticket_number')::int FROM generate_series(1, $4::int)) AS numbers`

// Without a standby's word, the server that takes over could give the same numbers again.
const numbersStatement = `
SELECT nextval('core.ticket_number')::int AS number, (SELECT ${awaitStandby}) FROM generate_series(1, $1::int)`

const sweepStatement = `
DELETE FROM core.command_receipt WHERE ctid IN (
  SELECT ctid FROM core.command_receipt WHERE expires_at < now() ORDER BY expires_at LIMIT $1::int
) RETURNING 1`

/** What became of each, or the error by which the server answered the whole statement, which is then rolled back. */
type Attempt = ReadonlyArray<AppendOutcome> | SqlError.SqlError

interface LoadRow {
  readonly fingerprint: string | null
  readonly answer: unknown
  readonly stream_type: string | null
  readonly version: number | null
  readonly state: unknown
}

interface AppendRow {
  readonly unmoved: ReadonlyArray<number>
  readonly accepted: ReadonlyArray<number>
  readonly numbers: ReadonlyArray<number>
}

const decodeAnswer = Schema.decodeUnknownSync(CommandAccepted)
const decodeState = Schema.decodeUnknownSync(AggregateState)

export const layer = Layer.effect(
  CommandStore,
  Effect.gen(function* () {
    const database = yield* Database
    const stock = makeNumberStock()
    const query = <Row extends object>(statement: string, parameters: ReadonlyArray<unknown>) =>
      SqlClient.SqlClient.use((sql) => sql.unsafe<Row>(statement, parameters))

    const load = Effect.fn("CommandStore.load")((keys: ReadonlyArray<CommandKey>) =>
      database
        .run(query<LoadRow>(loadStatement, [JSON.stringify(keys.map(toKeyRow))]))
        .pipe(Effect.map((rows) => rows.map(toKnown)))
    )

    const appendOnce = (batch: ReadonlyArray<Decided>) =>
      query<AppendRow>(appendStatement, [
        JSON.stringify(batch.map(toCommandRow)),
        JSON.stringify(batch.flatMap(toEventRows)),
        Duration.toSeconds(Commands.receiptLifetime),
        stock.missing()
      ]).pipe(
        Effect.map((rows): ReadonlyArray<AppendOutcome> => {
          const [row] = rows
          stock.put(row?.numbers ?? [])
          return batch.map((_, ordinal) => outcomeOf(row, ordinal))
        })
      )

    const attempt = (batch: ReadonlyArray<Decided>): Effect.Effect<Attempt, Unavailable> =>
      database.run(appendOnce(batch).pipe(Effect.catchTag("SqlError", answered)))

    // Its neighbours may be durable already when the database goes away: what became of each is told of each.
    const one = (decided: Decided): Effect.Effect<AppendOutcome> =>
      attempt([decided]).pipe(
        Effect.flatMap((result) =>
          SqlError.isSqlError(result) ? alone(decided, result) : Effect.succeed(result[0] ?? "refused")
        ),
        Effect.catchTag("Unavailable", (unavailable) => Effect.succeed<AppendOutcome>(unavailable))
      )

    const append = (batch: ReadonlyArray<Decided>) =>
      attempt(batch).pipe(
        Effect.flatMap(
          (result): Effect.Effect<ReadonlyArray<AppendOutcome>, Unavailable> =>
            SqlError.isSqlError(result)
              ? Effect.forEach(batch, one, { concurrency: Commands.singlesAtOnceMax })
              : Effect.succeed(result)
        ),
        Effect.withSpan("CommandStore.append", {}, { captureStackTrace: false })
      )

    const takeNumbers = Effect.fnUntraced(function* (count: number) {
      for (let taken = stock.take(count); ; taken = stock.take(count)) {
        if (taken !== null) return taken
        const rows = yield* database.run(query<{ readonly number: number }>(numbersStatement, [stock.missing(count)]))
        stock.put(rows.map((row) => row.number))
      }
    })
    const giveBackNumbers = (numbers: ReadonlyArray<number>) => Effect.sync(() => stock.put(numbers))

    const sweepReceipts = Effect.fn("CommandStore.sweepReceipts")((countMax: number) =>
      Effect.map(database.run(query(sweepStatement, [countMax])), (rows) => rows.length)
    )

    return CommandStore.of({ load, append, takeNumbers, giveBackNumbers, sweepReceipts })
  })
)

/** The error as a value when the server is well, so that it does not count against it. */
const answered = (error: SqlError.SqlError): Effect.Effect<Attempt, SqlError.SqlError> =>
  toFailure(error) === null ? Effect.succeed(error) : Effect.fail(error)

/** What the server's refusal of a single command means: created by somebody else in this moment, held by somebody else, or a bug. */
const alone = (decided: Decided, error: SqlError.SqlError): Effect.Effect<AppendOutcome> => {
  if (error.reason._tag === "UniqueViolation") return Effect.succeed("version_moved")
  if (isContention(error)) return Effect.succeed("busy")
  return Effect.as(
    Effect.logError("PostgreSQL refused to append a command", error.reason.cause).pipe(
      Effect.annotateLogs({ commandId: decided.commandId })
    ),
    "refused"
  )
}

const outcomeOf = (row: AppendRow | undefined, ordinal: number): AppendOutcome => {
  if (row?.accepted.includes(ordinal)) return "appended"
  return row?.unmoved.includes(ordinal) ? "receipt_existed" : "version_moved"
}

const toKeyRow = (key: CommandKey, ordinal: number) => ({
  ordinal,
  principal_id: key.principalId,
  command_id: key.commandId,
  stream_id: key.streamId
})

const toKnown = (row: LoadRow): Known => ({
  receipt: row.fingerprint === null ? null : { fingerprint: row.fingerprint, answer: decodeAnswer(row.answer) },
  aggregate:
    row.version === null || row.stream_type === null
      ? null
      : { streamType: row.stream_type, version: StreamVersion.make(row.version), state: decodeState(row.state) }
})

const toCommandRow = (decided: Decided, ordinal: number) => ({
  ordinal,
  principal: decided.principal,
  principal_id: decided.principal.id,
  command_id: decided.commandId,
  fingerprint: decided.fingerprint,
  answer: decided.answer,
  stream_type: decided.streamType,
  stream_id: decided.streamId,
  decided_version: decided.decidedVersion,
  version: decided.decidedVersion + decided.events.length,
  state: decided.state,
  correlation_id: decided.correlationId,
  causation_id: decided.causationId,
  traceparent: decided.traceparent,
  occurred_at: DateTime.formatIso(decided.occurredAt)
})

const toEventRows = (decided: Decided, ordinal: number) =>
  decided.events.map(({ event, eventId, visibility }, index) => ({
    ordinal,
    event_id: eventId,
    stream_version: decided.decidedVersion + index + 1,
    type: event._tag,
    schema_version: eventVersions.currentVersion(event._tag),
    data: eventData(event),
    visibility: encodedVisibility(visibility)
  }))

// It has no transformation, so it is its own encoding; the compiler refuses this line once that is no longer so.
const encodedVisibility = (visibility: Visibility): typeof Visibility.Encoded => visibility
