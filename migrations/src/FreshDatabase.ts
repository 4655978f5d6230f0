// A database of its own for one test, on the server that HOLDFAST_TEST_DATABASE_URL names, dropped when the scope closes.
import { randomUUID } from "node:crypto"
import { PgClient } from "@effect/sql-pg"
import { Config, Effect, Redacted } from "effect"
import type { SqlClient } from "effect/sql"
import { migrateAll } from "./Migrate.ts"

/** Its URL; empty but for what `prepare` does. */
export const freshDatabase = <E>(prepare: Effect.Effect<unknown, E, PgClient.PgClient | SqlClient.SqlClient>) =>
  Effect.gen(function* () {
    const server = yield* Config.Redacted("HOLDFAST_TEST_DATABASE_URL")
    const name = `test_${randomUUID().replaceAll("-", "")}`
    yield* Effect.acquireRelease(administer(server, `CREATE DATABASE ${name}`), () =>
      Effect.orDie(administer(server, `DROP DATABASE ${name} WITH (FORCE)`))
    )
    const fresh = new URL(Redacted.value(server))
    fresh.pathname = `/${name}`
    const url = Redacted.make(fresh.href)
    yield* Effect.provide(prepare, PgClient.layer({ url }), { local: true })
    return url
  })

/** The same, with the current schema. */
export const migratedDatabase = freshDatabase(migrateAll)

const administer = (url: Redacted.Redacted<string>, statement: string) =>
  Effect.provide(
    PgClient.PgClient.use((sql) => sql.unsafe(statement)),
    PgClient.layer({ url }),
    { local: true }
  )
