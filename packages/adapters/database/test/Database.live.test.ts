// The guarded database on the real server: what is away, what is busy and what is refused are told apart.
import { once } from "node:events"
import { createServer, type Socket } from "node:net"
import { PgClient } from "@effect/sql-pg"
import { expect, it } from "@effect/vitest"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Redacted, Schedule } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import * as ClientPostgres from "../src/ClientPostgres.ts"
import { Database, ReadDatabase } from "../src/Database.ts"
import { transaction } from "../src/Transaction.ts"

const databases = Layer.unwrap(
  Effect.map(migratedDatabase, (url) =>
    Layer.merge(
      Database.layer.pipe(Layer.provideMerge(ClientPostgres.layer({ url, applicationName: "database-test" }))),
      ReadDatabase.layer.pipe(Layer.provide(ClientPostgres.layerRead({ url, applicationName: "database-test-read" })))
    )
  )
).pipe(Layer.provide(Health.layer))

const select = (statement: string) => SqlClient.SqlClient.use((sql) => sql.unsafe(statement))

it.layer(databases, { excludeTestServices: true })("Database", (it) => {
  it.effect("each side has its own pool and its own limits", () =>
    Effect.gen(function* () {
      const settings = select(
        "SELECT current_setting('application_name') AS name, current_setting('statement_timeout') AS limit"
      )
      const core = yield* Database.use((database) => database.run(settings))
      // Its short limit includes the first connection, which a busy machine makes too late.
      const read = yield* ReadDatabase.use((database) => database.run(settings)).pipe(
        Effect.retry(Schedule.spaced("50 millis"))
      )
      expect(core).toEqual([{ name: "database-test", limit: "1s" }])
      expect(read).toEqual([{ name: "database-test-read", limit: "300ms" }])
    })
  )

  it.effect("the server asks after a client that says nothing, and gives up what nobody confirms", () =>
    Effect.gen(function* () {
      const settings = select(
        "SELECT current_setting('tcp_keepalives_idle') AS idle, current_setting('tcp_user_timeout') AS unconfirmed"
      )
      expect(yield* Database.use((database) => database.run(settings))).toEqual([{ idle: "5", unconfirmed: "15000" }])
    })
  )

  it.effect("a statement that takes too long is Unavailable", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(ReadDatabase.use((database) => database.run(select("SELECT pg_sleep(2)"))))
      expect(error).toBeInstanceOf(Unavailable)
    })
  )

  it.effect("a killed backend is a lost connection, which may have happened", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        Database.use((database) => database.run(select("SELECT pg_terminate_backend(pg_backend_pid())")))
      )
      expect(error).toMatchObject({ reason: "connection_lost", mayHaveHappened: true })
    })
  )

  it.effect("waiting for a lock is busy, not away", () =>
    Effect.gen(function* () {
      const locked = yield* Deferred.make<void>()
      const sql = yield* PgClient.PgClient
      const lock = sql.unsafe("LOCK TABLE core.aggregate IN ACCESS EXCLUSIVE MODE")
      const holder = yield* transaction(
        Effect.andThen(lock, Effect.andThen(Deferred.succeed(locked, undefined), Effect.never))
      ).pipe(Effect.forkChild)
      yield* Deferred.await(locked)
      const error = yield* Effect.flip(Database.use((database) => database.run(select("SELECT * FROM core.aggregate"))))
      yield* Fiber.interrupt(holder)
      expect(error).toMatchObject({ _tag: "Unavailable", reason: "refused" })
    })
  )

  it.effect("a refusal that the caller expects is caught inside; any other is a defect", () =>
    Effect.gen(function* () {
      const database = yield* Database
      const divided = select("SELECT 1/0")
      expect(yield* database.run(Effect.catchTag(divided, "SqlError", () => Effect.succeed("expected")))).toBe(
        "expected"
      )
      const exit = yield* Effect.exit(database.run(divided))
      expect(
        Exit.isFailure(exit) && exit.cause.reasons.some((r) => Cause.isDieReason(r) && SqlError.isSqlError(r.defect))
      ).toBe(true)
    })
  )
})

it.live("a server that is not there is unreachable: nothing was sent", () =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(Database.use((database) => database.run(select("SELECT 1"))))
    expect(error).toMatchObject({ reason: "unreachable", mayHaveHappened: false })
  }).pipe(
    Effect.provide(
      Database.layer.pipe(
        Layer.provide(
          ClientPostgres.layer({ url: Redacted.make("postgres://x@127.0.0.1:7699/x"), applicationName: "t" })
        ),
        Layer.provide(Health.layer)
      )
    )
  )
)

/** Takes connections and never says a word, as a stopped PostgreSQL does. */
const silentPort = Effect.map(
  Effect.acquireRelease(
    Effect.promise(async () => {
      const held = new Set<Socket>()
      const server = createServer((socket) => held.add(socket)).listen(0, "127.0.0.1")
      await once(server, "listening")
      return { held, server }
    }),
    ({ held, server }) =>
      Effect.sync(() => {
        for (const socket of held) socket.destroy()
        server.close()
      })
  ),
  ({ server }) => {
    const address = server.address()
    return typeof address === "object" && address !== null ? address.port : 0
  }
)

it.live("a server that takes connections and says nothing is refused after three, and nothing was sent", () =>
  Effect.gen(function* () {
    const url = Redacted.make(`postgres://x@127.0.0.1:${yield* silentPort}/x`)
    const layer = Database.layer.pipe(
      Layer.provide(ClientPostgres.layer({ url, applicationName: "t" })),
      Layer.provide(Health.layer)
    )
    const ask = Effect.flip(Database.use((database) => database.run(select("SELECT 1"))))
    const errors = yield* Effect.provide(Effect.all([ask, ask, ask, ask]), layer)
    for (const error of errors.slice(0, 3)) {
      expect(error).toMatchObject({ reason: "connect_timeout", mayHaveHappened: false })
    }
    expect(errors[3]).toMatchObject({ reason: "breaker_open" })
  })
)
