// The event log in PostgreSQL. Positions are given by one function of the database that holds the relay's only row while it runs;
// leadership is a session's advisory lock on a connection of its own, proven once a second, so a leader that lost its session stops
// working. Even a leader that does not know it yet can do no harm: the row's lock keeps positions gapless.
import { PgClient } from "@effect/sql-pg"
import { Position, type StreamId, type StreamVersion } from "@holdfast/contracts/Ids"
import { deadline } from "@holdfast/resilience/Deadline"
import { Leader, EventLog as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Duration, Effect, Exit, Layer, Schedule, Scope, Stream } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient } from "effect/sql"
import { Database } from "./Database.ts"
import { EventLog, LogId } from "./EventLog.ts"
import { type EventRow, eventColumns, toEnvelope } from "./EventLogRows.ts"

export const layer = Layer.effect(
  EventLog,
  Effect.gen(function* () {
    const database = yield* Database
    const { config } = yield* PgClient.PgClient
    const wakeups = yield* makeWakeups(config)
    return EventLog.of({
      assignPositions: (countMax) => database.run(assignPositions(countMax)),
      published: database.run(relayState("published_position")),
      markPublished: (position) => database.run(markPublished(position)),
      identity: database.run(identity),
      renewIdentity: (from) => database.run(renewIdentity(from)),
      lastPosition: database.run(relayState("last_position")),
      hasUnpositioned: database.run(hasUnpositioned),
      readAfter: (after, countMax) =>
        Effect.withSpan(database.run(readAfter(after, Math.min(countMax, Limits.readEventsMax))), "EventLog.readAfter"),
      readStream: (streamId, after) =>
        Effect.withSpan(database.run(readStream(streamId, after)), "EventLog.readStream"),
      readAt: (positions) => Effect.withSpan(database.run(readAt(positions)), "EventLog.readAt"),
      wakeups,
      lead: (role, work) => lead(config, role, work)
    })
  })
)

const assignPositions = Effect.fnUntraced(function* (countMax: number) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly assigned: number }>`SELECT core.assign_positions(${countMax}) AS assigned`
  return rows[0]?.assigned ?? 0
})

const relayState = Effect.fnUntraced(function* (column: "published_position" | "last_position") {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly position: number }>`
    SELECT ${sql(column)}::float8 AS position FROM core.relay_state WHERE id = 1`
  return Position.make(rows[0]?.position ?? 0)
})

const identity = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly id: string }>`SELECT log_id AS id FROM core.relay_state WHERE id = 1`
  return LogId.make(rows[0]?.id ?? "")
})

const renewIdentity = Effect.fnUntraced(function* (from: Position) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    UPDATE core.relay_state SET log_id = gen_random_uuid(), published_position = least(published_position, ${from})
    WHERE id = 1`
})

const hasUnpositioned = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly waits: boolean }>`
    SELECT EXISTS (SELECT 1 FROM core.event_log WHERE position IS NULL) AS waits`
  return rows[0]?.waits ?? false
})

const markPublished = Effect.fnUntraced(function* (position: Position) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`
    UPDATE core.relay_state SET published_position = ${position} WHERE id = 1 AND published_position < ${position}`
})

const readAfter = Effect.fnUntraced(function* (after: Position, countMax: number) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<EventRow>`
    SELECT ${sql.literal(eventColumns)} FROM core.event_log AS e
    WHERE e.position > ${after} ORDER BY e.position LIMIT ${countMax}`
  return rows.map(toEnvelope)
})

const readStream = Effect.fnUntraced(function* (streamId: StreamId, after: StreamVersion) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<EventRow>`
    SELECT ${sql.literal(eventColumns)} FROM core.event_log AS e
    WHERE e.stream_id = ${streamId} AND e.stream_version > ${after} AND e.position IS NOT NULL
    ORDER BY e.stream_version LIMIT ${Limits.streamEventsMax}`
  return rows.map(toEnvelope)
})

const readAt = Effect.fnUntraced(function* (positions: ReadonlyArray<Position>) {
  if (positions.length === 0) return []
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<EventRow>`
    SELECT ${sql.literal(eventColumns)} FROM core.event_log AS e
    WHERE ${sql.in("e.position", positions)} ORDER BY e.position LIMIT ${Limits.readEventsMax}`
  return rows.map(toEnvelope)
})

/** One listening connection for everybody in the process, from the first subscriber on; lost, it listens again. The tick covers what it missed. */
const makeWakeups = Effect.fnUntraced(function* (config: PgClient.PgClientConfig) {
  const heard = Stream.unwrap(
    Effect.gen(function* () {
      const client = yield* dedicatedClient(config)
      return Stream.fromQueue(yield* client.listen("holdfast_position"))
    }).pipe(releasedInTime)
  ).pipe(
    Stream.tapError((error) => Effect.logDebug("listening for positions broke off, it is tried again", error)),
    Stream.retry(Schedule.jittered(Schedule.spaced(Limits.listenRetryDelay))),
    Stream.catchCause((cause) => Stream.fromEffectDrain(Effect.logError("listening for positions ended", cause))),
    Stream.map(() => undefined)
  )
  const shared = yield* Stream.share(heard, { capacity: 1, strategy: "sliding" })
  return Stream.merge(shared, Stream.tick(Limits.wakeupInterval))
})

/** A connection outside the pool, closed with the scope. It never connects again by itself, so it is one session. */
export const dedicatedClient = (config: PgClient.PgClientConfig) =>
  Effect.provide(PgClient.makeClient(config), Reactivity.layer)

/** Closing a session says goodbye to the server, which may be hung: nobody waits for that longer than for a check. */
export const releasedInTime = Effect.fnUntraced(function* <A, E, R>(acquire: Effect.Effect<A, E, R>) {
  const scope = yield* Effect.acquireRelease(Scope.make(), (own) =>
    Effect.ignore(deadline(Leader.checkDeadline)(Scope.close(own, Exit.void)))
  )
  return yield* Scope.provide(acquire, scope)
})

const lead = <A, E, R>(config: PgClient.PgClientConfig, role: string, work: Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.gen(function* () {
      const client = yield* releasedInTime(awaitTurn(config, role))
      return yield* Effect.raceFirst(work, watchSession(client, role))
    })
  )

/** Tried again and again rather than waited for in the server: a waiting session would look alive while its server hangs. */
const awaitTurn = Effect.fnUntraced(function* (config: PgClient.PgClientConfig, role: string) {
  const client = yield* dedicatedClient(endedWhenSilent(config)).pipe(
    Effect.mapError(() => sessionLost(role, "unreachable"))
  )
  // A standby gives locks of its own, which hold nobody else off: such a session is left, for the address may lead elsewhere by now.
  const attempt = provenBy(
    client<{ readonly held: boolean; readonly standby: boolean }>`
      SELECT pg_is_in_recovery() AS standby,
        pg_try_advisory_lock(hashtext('holdfast.lead'), hashtext(${role})) AS held`,
    role
  ).pipe(
    Effect.filterOrFail(
      ([row]) => row?.standby !== true,
      () => sessionLost(role, "connection_lost")
    )
  )
  yield* attempt.pipe(
    Effect.repeat({
      until: ([row]) => row?.held === true,
      schedule: Schedule.jittered(Schedule.spaced(Leader.retryDelay))
    })
  )
  return client
})

/** The server gives the role to somebody else although its holder is hung, or cut off without a word. */
const endedWhenSilent = (config: PgClient.PgClientConfig): PgClient.PgClientConfig => ({
  ...config,
  startupParameters: {
    ...config.startupParameters,
    idle_session_timeout: String(Duration.toMillis(Leader.sessionSilenceMax))
  }
})

/** Never succeeds; fails once the session does not answer any more. */
const watchSession = (client: SqlClient.SqlClient, role: string): Effect.Effect<never, Unavailable> =>
  Effect.forever(Effect.andThen(Effect.sleep(Leader.checkInterval), provenBy(client`SELECT 1`, role)))

const provenBy = <A, E>(statement: Effect.Effect<A, E>, role: string): Effect.Effect<A, Unavailable> =>
  Effect.mapError(deadline(Leader.checkDeadline)(statement), () => sessionLost(role, "connection_lost"))

const sessionLost = (role: string, reason: "unreachable" | "connection_lost") =>
  new Unavailable({
    dependency: "database",
    reason,
    retryAfterMs: Duration.toMillis(Leader.retryDelay),
    detail: `the session that leads ${role} has no connection`
  })
