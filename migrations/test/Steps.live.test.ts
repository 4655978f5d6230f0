// Steps under a running desk: a change that would have to wait for people at work gives up and comes back, a backfill goes on where it was
// broken off, and nothing is taken away from an older release that is still connected.
import { PgClient } from "@effect/sql-pg"
import { expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Ref } from "effect"
import { SqlClient } from "effect/sql"
import { freshDatabase } from "../src/FreshDatabase.ts"
import { statements } from "../src/Statements.ts"
import { pendingSteps, runSteps, type Steps } from "../src/Steps.ts"

const work = Layer.unwrap(Effect.map(freshDatabase(Effect.void), (url) => PgClient.layer({ url })))

const begin: Steps["expand"] = {
  "0001_people": statements([
    `CREATE TABLE core.person (id integer PRIMARY KEY, name text NOT NULL)`,
    `INSERT INTO core.person SELECT n, 'Ada ' || n FROM generate_series(1, 250) AS n`
  ])
}
const widened: Steps["expand"] = {
  ...begin,
  "0002_initials": statements([`ALTER TABLE core.person ADD COLUMN initial text`])
}

const initials = {
  name: "initials",
  batch: SqlClient.SqlClient.use(
    (sql) => sql`UPDATE core.person SET initial = left(name, 1) WHERE id IN
      (SELECT id FROM core.person WHERE initial IS NULL ORDER BY id LIMIT 100) RETURNING id`
  ).pipe(Effect.map((rows) => rows.length))
}
const dropName = { name: "drop_name", release: 2, work: statements([`ALTER TABLE core.person DROP COLUMN name`]) }
const only = (steps: Partial<Steps>): Steps => ({ expand: begin, backfill: [], contract: [], ...steps })
const filled = only({ expand: widened, backfill: [initials] })

it.live(
  "a change waits for a lock so briefly that who comes behind it is served, and is made once the lock is free",
  () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* runSteps("core", only({}))
      const holding = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const holder = yield* Effect.forkChild(
        sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`SELECT count(*) FROM core.person`
            yield* Deferred.succeed(holding, undefined)
            yield* Deferred.await(release)
          })
        )
      )
      yield* Deferred.await(holding)
      const migrating = yield* Effect.forkChild(runSteps("core", only({ expand: widened })))
      // Each of these would stand behind the change for as long as that waits: more of them than its patience, and none is refused.
      for (let asked = 0; asked < 40; asked++) {
        yield* sql.withTransaction(
          Effect.andThen(sql`SET LOCAL lock_timeout = 500`, sql`SELECT name FROM core.person WHERE id = ${asked + 1}`)
        )
        yield* Effect.sleep("20 millis")
      }
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(holder)
      expect(yield* Fiber.join(migrating)).toEqual(["0002_initials"])
    }).pipe(Effect.provide(work))
)

it.live("a backfill goes on where it was broken off, and is done once", () =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    yield* runSteps("core", only({ expand: widened }))
    const rounds = yield* Ref.make(0)
    const broken = Effect.gen(function* () {
      if ((yield* Ref.updateAndGet(rounds, (n) => n + 1)) > 1) return yield* Effect.die("the power fails")
      return yield* initials.batch
    })
    yield* Effect.exit(runSteps("core", only({ expand: widened, backfill: [{ name: "initials", batch: broken }] })))
    const [step] = yield* sql<{ readonly rows: number }>`SELECT row_count::int AS rows FROM core.migration_step`
    expect(step?.rows).toBe(100)
    expect(yield* pendingSteps("core", filled)).toEqual([{ name: "initials", waitsFor: null }])
    expect(yield* runSteps("core", filled)).toEqual(["initials"])
    expect(yield* runSteps("core", filled)).toEqual([])
    expect(yield* sql`SELECT id FROM core.person WHERE initial IS NULL`).toEqual([])
    expect(yield* pendingSteps("core", filled)).toEqual([])
  }).pipe(Effect.provide(work))
)

it.live("what an older release needs is there until the last process of it is gone", () =>
  Effect.gen(function* () {
    const url = yield* freshDatabase(Effect.void)
    const steps = only({ contract: [dropName] })
    const own = PgClient.layer({ url })
    const older = PgClient.layer({ url, applicationName: "holdfast command-api r1" })
    yield* Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`SELECT 1`
      expect(yield* Effect.provide(runSteps("core", steps), own, { local: true })).toEqual(["0001_people"])
      const [left] = yield* Effect.provide(pendingSteps("core", steps), own, { local: true })
      expect(left).toMatchObject({ name: "drop_name", waitsFor: expect.stringContaining("holdfast command-api r1") })
      yield* sql`SELECT name FROM core.person LIMIT 1`
    }).pipe(Effect.provide(older, { local: true }))
    expect(yield* Effect.provide(runSteps("core", steps), own, { local: true })).toEqual(["drop_name"])
  }).pipe(Effect.scoped)
)
