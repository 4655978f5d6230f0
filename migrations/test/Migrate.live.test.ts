// Migrations on the real server: started twice at once, they run once.
import { PgClient } from "@effect/sql-pg"
import { expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { freshDatabase } from "../src/FreshDatabase.ts"
import { migrate, migrateAll } from "../src/Migrate.ts"

const emptyDatabase = Layer.unwrap(
  Effect.map(freshDatabase(Effect.void), (url) =>
    PgClient.layer({ url, startupParameters: { statement_timeout: "1000", lock_timeout: "500" } })
  )
)

it.live("started twice at once, each migration runs once and both starts succeed", () =>
  Effect.gen(function* () {
    const ran = yield* Effect.all([migrateAll, migrateAll, migrateAll], { concurrency: 3 })
    const names = ran.flat()
    expect(names).toContain("0001_core")
    expect(new Set(names).size).toBe(names.length)
  }).pipe(Effect.provide(emptyDatabase))
)

it.live("run again, there is nothing to do", () =>
  Effect.gen(function* () {
    yield* migrate("core")
    expect(yield* migrate("core")).toEqual([])
  }).pipe(Effect.provide(emptyDatabase))
)
