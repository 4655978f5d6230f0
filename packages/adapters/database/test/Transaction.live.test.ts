// What the driver does to transactions and to JSON, held still: a connection lost inside a transaction is a typed error, and keys
// inside jsonb are nobody's business but their writer's.
import { PgClient } from "@effect/sql-pg"
import { expect, it } from "@effect/vitest"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { SqlError } from "effect/sql"
import * as ClientPostgres from "../src/ClientPostgres.ts"
import { toFailure } from "../src/SqlFailure.ts"
import { transaction } from "../src/Transaction.ts"

const client = Layer.unwrap(
  Effect.map(migratedDatabase, (url) => ClientPostgres.layer({ url, applicationName: "transaction-test" }))
)

it.layer(client, { excludeTestServices: true })("transaction", (it) => {
  it.effect("a backend killed in the middle is a typed connection loss, not a defect", () =>
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      const backend = yield* Deferred.make<number>()
      const working = yield* transaction(
        Effect.gen(function* () {
          const [row] = yield* sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`
          yield* Deferred.succeed(backend, row?.pid ?? 0)
          // Under way whenever the end comes, and each within the statement's limit.
          return yield* Effect.forever(sql`SELECT pg_sleep(0.5)`)
        })
      ).pipe(Effect.forkChild)
      yield* sql`SELECT pg_terminate_backend(${yield* Deferred.await(backend)})`
      const error = yield* Effect.flip(Fiber.join(working))
      expect(SqlError.isSqlError(error)).toBe(true)
      expect(toFailure(error)?.reason).toBe("connection_lost")
    })
  )

  it.effect("the next transaction has a connection again", () =>
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      expect(yield* transaction(sql`SELECT 1 AS one`)).toEqual([{ one: 1 }])
    })
  )

  it.effect("a typed failure rolls back and stays itself", () =>
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE TABLE kept (n int)`
      const exit = yield* Effect.exit(
        transaction(Effect.andThen(sql`INSERT INTO kept VALUES (1)`, Effect.fail("changed my mind")))
      )
      expect(exit).toEqual(Exit.fail("changed my mind"))
      expect(yield* sql`SELECT * FROM kept`).toEqual([])
    })
  )

  it.effect("a defect stays a defect", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(transaction(Effect.die("broken")))
      expect(exit).toEqual(Exit.die("broken"))
    })
  )

  it.effect("keys inside jsonb come back exactly as they were written", () =>
    Effect.gen(function* () {
      const sql = yield* PgClient.PgClient
      const written = { snake_case: 1, camelCase: { "with space": [{ Upper_Mixed: "ß😀\u2028" }] } }
      const rows =
        yield* sql`SELECT ${JSON.stringify(written)}::text::jsonb AS by_text, ${sql.json(written)}::jsonb AS by_json`
      expect(rows).toEqual([{ by_text: written, by_json: written }])
    })
  )
})
