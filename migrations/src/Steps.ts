// How a schema changes under a running desk: expand, backfill, contract. Expanding adds what the new release needs and the old one can
// ignore; backfilling fills it, a bounded batch at a time; contracting takes away what only older releases needed, and waits until none of
// them is connected. No step ever makes the desk wait: a change that needs a lock waits for it so briefly that nobody queued behind it
// notices, gives up, and comes back a moment later.
import { Duration, Effect, Random, Schedule } from "effect"
import { Migrator, SqlClient, SqlError } from "effect/sql"

type Work = Effect.Effect<unknown, unknown, SqlClient.SqlClient>

export interface Backfill {
  readonly name: string
  /** Fills a bounded number of rows that need it and says how many; none when it is done. Broken off anywhere, it goes on where it was. */
  readonly batch: Effect.Effect<number, SqlError.SqlError, SqlClient.SqlClient>
}

export interface Contract {
  readonly name: string
  /** The first release that can do without what is taken away. */
  readonly release: number
  readonly work: Work
}

export interface Steps {
  /** By `<number>_<name>`, in their order. */
  readonly expand: Readonly<Record<string, Work>>
  readonly backfill: ReadonlyArray<Backfill>
  readonly contract: ReadonlyArray<Contract>
}

export interface Pending {
  readonly name: string
  /** What it waits for; null when it can be run now. */
  readonly waitsFor: string | null
}

/** Below the deadline of a command's own lock, so that one which is queued behind this wait is still answered. */
const lockWait = Duration.millis(250)
/** Tried for about two minutes: longer than any statement of the desk may run. */
const lockAttemptsMax = 200
const retry = Schedule.jittered(Schedule.spaced(Duration.millis(500))).pipe(Schedule.upTo({ times: lockAttemptsMax }))
/** Other migrators are waited for this long. */
const turnDeadline = Duration.minutes(2)

/** The migrator wraps what failed. */
const isLockTimeout = (error: unknown): boolean => {
  if (SqlError.isSqlError(error)) return ["LockTimeoutError", "DeadlockError"].includes(error.reason._tag)
  return error instanceof Error && error.cause !== undefined && isLockTimeout(error.cause)
}

/** One transaction, alone among migrators, tried again while its locks are held by people at work. */
const changing = <A, E, R>(side: string, work: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const once = sql.withTransaction(
      Effect.gen(function* () {
        yield* sql.unsafe("SET LOCAL statement_timeout = 0")
        yield* sql.unsafe(`SET LOCAL lock_timeout = ${Duration.toMillis(turnDeadline)}`)
        yield* sql`SELECT pg_advisory_xact_lock(hashtext(${`holdfast.migrate.${side}`}))`
        yield* sql.unsafe(`SET LOCAL lock_timeout = ${Duration.toMillis(lockWait)}`)
        return yield* work
      })
    )
    return yield* Effect.retry(once, { schedule: retry, while: isLockTimeout })
  })

/** The names that were run now. */
export const runSteps = Effect.fn("Steps.run")(function* (side: string, steps: Steps) {
  const expanded = yield* changing(side, expand(side, steps))
  const filled = yield* Effect.forEach(steps.backfill, (one) => fill(side, one))
  const contracted = yield* Effect.forEach(steps.contract, (one) => contract(side, one))
  return [...expanded, ...filled.flat(), ...contracted.flat()]
})

const expand = Effect.fnUntraced(function* (side: string, steps: Steps) {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe(`CREATE SCHEMA IF NOT EXISTS ${side}`)
  yield* sql.unsafe(`CREATE TABLE IF NOT EXISTS ${side}.migration_step (
    name text PRIMARY KEY,
    row_count bigint NOT NULL DEFAULT 0,
    done_at timestamptz
  )`)
  const run = Migrator.make({})({ loader: Migrator.fromRecord(steps.expand), table: `${side}.migration` })
  return (yield* run).map(([id, name]) => `${String(id).padStart(4, "0")}_${name}`)
})

interface StepRow {
  readonly name: string
  readonly isDone: boolean
}

const stepRows = Effect.fnUntraced(function* (side: string) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql.unsafe<StepRow>(`SELECT name, done_at IS NOT NULL AS "isDone" FROM ${side}.migration_step`)
  return new Set(rows.flatMap(({ isDone, name }) => (isDone ? [name] : [])))
})

const fill = Effect.fnUntraced(function* (side: string, { batch, name }: Backfill) {
  if ((yield* stepRows(side)).has(name)) return []
  for (let total = 0; ; ) {
    const [lasted, count] = yield* Effect.timed(changing(side, recorded(side, name, batch)))
    if (count === 0) return [name]
    total += count
    yield* Effect.logInfo(`backfill ${name}: ${total} rows so far`)
    // At most half of the time, so that people at work have the other half.
    yield* Effect.sleep(Duration.times(lasted, 1 + (yield* Random.next)))
  }
})

/** The rows and the word of them commit together. */
const recorded = Effect.fnUntraced(function* (side: string, name: string, batch: Backfill["batch"]) {
  const sql = yield* SqlClient.SqlClient
  const count = yield* batch
  yield* sql.unsafe(
    `INSERT INTO ${side}.migration_step AS step (name, row_count, done_at)
     VALUES ($1, $2, CASE WHEN $2 = 0 THEN now() END)
     ON CONFLICT (name) DO UPDATE SET row_count = step.row_count + $2, done_at = excluded.done_at`,
    [name, count]
  )
  return count
})

const contract = Effect.fnUntraced(function* (side: string, { name, release, work }: Contract) {
  if ((yield* stepRows(side)).has(name)) return []
  if ((yield* olderThan(release)).length > 0) return []
  yield* changing(side, Effect.andThen(work, recorded(side, name, Effect.succeed(0))))
  return [name]
})

/** Sessions of processes say their release at the end of their name; one that says none is older than all that do. */
export const releaseOf = (applicationName: string): number => Number(/ r(\d+)$/.exec(applicationName)?.[1] ?? 0)

const olderThan = Effect.fnUntraced(function* (release: number) {
  const sql = yield* SqlClient.SqlClient
  const rows = yield* sql<{ readonly name: string }>`
    SELECT DISTINCT application_name AS name FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'holdfast %'`
  return rows.map(({ name }) => name).filter((name) => releaseOf(name) < release)
})

/** What has not been run, in its order; changes nothing. */
export const pendingSteps = Effect.fn("Steps.pending")(function* (side: string, steps: Steps) {
  const names = Object.keys(steps.expand)
  const last = yield* lastExpanded(side)
  const missing = names.filter((name) => Number.parseInt(name, 10) > last)
  const done = last === 0 ? new Set<string>() : yield* stepRows(side)
  const filling = steps.backfill.filter(({ name }) => !done.has(name))
  const contracting = yield* Effect.forEach(
    steps.contract.filter(({ name }) => !done.has(name)),
    ({ name, release }) =>
      Effect.map(olderThan(release), (older): Pending => ({ name, waitsFor: older.length === 0 ? null : waits(older) }))
  )
  const now = [...missing, ...filling.map(({ name }) => name)].map((name): Pending => ({ name, waitsFor: null }))
  return [...now, ...contracting]
})

const waits = (older: ReadonlyArray<string>): string => `the end of ${older.join(", ")}, which are of an older release`

/** The number of the last expanding step; none in a database that is not a desk's. */
export const lastExpanded = Effect.fnUntraced(function* (side: string) {
  const sql = yield* SqlClient.SqlClient
  const [table] = yield* sql.unsafe<{ readonly there: boolean }>(
    `SELECT to_regclass('${side}.migration_step') IS NOT NULL AND to_regclass('${side}.migration') IS NOT NULL AS there`
  )
  if (table?.there !== true) return 0
  const [row] = yield* sql.unsafe<{ readonly last: number }>(
    `SELECT coalesce(max(migration_id), 0)::int AS last FROM ${side}.migration`
  )
  return row?.last ?? 0
})
