// The release before keeps running on the schema of this one, and this one refuses a schema that it cannot run on. What the release before
// needs is on record (`0.1.0/`): every statement that its processes ran, and the tables as it knew them.
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { createKeySet } from "@holdfast/identity/Tokens"
import { freshDatabase, migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { choosePort } from "@holdfast/scripts/Ports"
import { Effect, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { root } from "../flows/Desk.ts"
import shape from "./0.1.0/shape.json" with { type: "json" }
import statements from "./0.1.0/statements.json" with { type: "json" }
import { shapeOf, statementsIn } from "./Record.ts"

const on = <A, E>(url: Redacted.Redacted<string>, work: Effect.Effect<A, E, SqlClient.SqlClient>) =>
  Effect.provide(work, ClientPostgres.layer({ url, applicationName: "upgrade test" }), { local: true })

it.live("every statement of release 0.1.0 is understood", () =>
  Effect.gen(function* () {
    const prepareAll = Effect.forEach(statements, (statement, index) =>
      SqlClient.SqlClient.use((sql) => sql.unsafe(`PREPARE of_before_${index} AS ${statement}`)).pipe(
        Effect.as(null),
        Effect.catch((error) => Effect.succeed(`${statement}: ${error.message}`))
      )
    )
    const refused = (yield* on(yield* migratedDatabase, prepareAll)).filter((one) => one !== null)
    expect(refused).toEqual([])
    expect(statements.length).toBeGreaterThan(20)
  })
)

it.live("the columns of release 0.1.0 are as they were, and what it does not know may be left out", () =>
  Effect.gen(function* () {
    const now = yield* on(yield* migratedDatabase, shapeOf)
    const keyOf = ({ name, table }: { readonly name: string; readonly table: string }) => `${table}.${name}`
    const known = new Map(now.columns.map((column) => [keyOf(column), column]))
    for (const column of shape.columns) {
      expect(known.get(keyOf(column))).toMatchObject({ type: column.type })
      if (column.mayBeLeftOut) expect(known.get(keyOf(column))).toMatchObject({ mayBeLeftOut: true })
    }
    const before = new Set(shape.columns.map(keyOf))
    const tables = new Set(shape.columns.map(({ table }) => table))
    const added = now.columns.filter((column) => tables.has(column.table) && !before.has(keyOf(column)))
    expect(added.filter(({ mayBeLeftOut }) => !mayBeLeftOut)).toEqual([])
    const obeyed = new Set(shape.rules.map(({ says, table }) => `${table}: ${says}`))
    const rules = now.rules.filter(({ table }) => tables.has(table)).map(({ says, table }) => `${table}: ${says}`)
    expect(rules.filter((rule) => !obeyed.has(rule))).toEqual([])
  })
)

const commandApi = Effect.fnUntraced(function* (url: Redacted.Redacted<string>) {
  const dataDir = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-upgrade-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  yield* createKeySet(join(dataDir, "keys"))
  const ports = yield* Effect.promise(async () => {
    const taken = new Set<number>()
    return [await choosePort(undefined, taken), await choosePort(undefined, taken)]
  })
  return yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [join(root, "apps/command-api/src/main.ts")], {
        env: {
          ...{ PATH: process.env.PATH, HOLDFAST_DATA_DIR: dataDir, HOLDFAST_DATABASE_URL: Redacted.value(url) },
          ...{ HOLDFAST_COMMAND_PORT: String(ports[0]), HOLDFAST_GRPC_PORT: String(ports[1]) }
        },
        stdio: ["ignore", "ignore", "pipe"]
      })
      const said = new Response(ReadableStream.from(child.stderr)).text()
      const ended = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)))
      return { child, said, ended, ready: `http://127.0.0.1:${ports[0]}/health/ready` }
    }),
    ({ child, ended }) =>
      Effect.promise(async () => {
        child.kill("SIGKILL")
        await ended
      })
  )
})

it.live("a process refuses a schema that is older than it needs, in one sentence", () =>
  Effect.gen(function* () {
    const { ended, said } = yield* commandApi(yield* freshDatabase(Effect.void))
    expect(yield* Effect.promise(() => ended)).toBe(78)
    expect(yield* Effect.promise(() => said)).toBe(
      "command-api: The core schema of the database is older than this release needs: run `holdfast migrate` of this release first.\n"
    )
  })
)

const later = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`ALTER TABLE core.aggregate ADD COLUMN of_a_later_release text`
  yield* sql`INSERT INTO core.migration (migration_id, name) VALUES (9999, 'of_a_later_release')`
})

it.live("a process starts and serves on a schema of a later release", () =>
  Effect.gen(function* () {
    const url = yield* migratedDatabase
    yield* on(url, later)
    const { ready } = yield* commandApi(url)
    const status = yield* Effect.tryPromise(async () => (await fetch(ready)).status).pipe(
      Effect.retry(Schedule.spaced("100 millis"))
    )
    expect(status).toBe(200)
  })
)

it("statements are found in a log, each once, with what belongs to them", () => {
  const log = [
    "2026-11-23 02:51:16.198 UTC [1] LOG:  duration: 0.1 ms  execute <unnamed>: SELECT 1",
    "2026-11-23 02:51:16.198 UTC [1] LOG:  duration: 0.1 ms  execute <unnamed>: SELECT doc",
    "\tFROM read.ticket WHERE id = $1",
    "2026-11-23 02:51:16.198 UTC [1] DETAIL:  Parameters: $1 = 'x'",
    "2026-11-23 02:51:16.198 UTC [1] LOG:  duration: 0.1 ms  execute s1: SELECT doc FROM read.ticket WHERE id = $1"
  ].join("\n")
  expect(statementsIn(log)).toEqual(["SELECT doc FROM read.ticket WHERE id = $1"])
})
