// The embedded PostgreSQL under the ends that a machine brings: killed, hung, orphaned, its password lost, its folder closed to its
// account. Each test has a cluster and a port of its own.

import { spawn } from "node:child_process"
import { once } from "node:events"
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { freshPort } from "@holdfast/testkit/TestServers"
import { Effect, Redacted, Result, Schedule, type Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as ClientPostgres from "../src/ClientPostgres.ts"
import { accountForServer } from "../src/embedded/Account.ts"
import { isRunning } from "../src/embedded/ProcessTree.ts"
import { prepare, type RunningServer, type ServerEmbedded } from "../src/ServerEmbedded.ts"

const places = Effect.acquireRelease(
  Effect.promise(async () => {
    const root = mkdtempSync(join(tmpdir(), "holdfast-postgres-"))
    return {
      root,
      options: {
        folder: join(root, "postgres"),
        passwordFile: join(root, "keys/postgres.password"),
        logFile: join(root, "postgres.log"),
        port: await Effect.runPromise(freshPort)
      }
    }
  }),
  ({ root }) => Effect.sync(() => rmSync(root, { recursive: true, force: true }))
)

const started = (server: ServerEmbedded): Effect.Effect<RunningServer, unknown, Scope.Scope> =>
  Effect.acquireRelease(server.start, (running) => running.stop).pipe(Effect.tap((running) => running.waitReady))

/** A busy server may say it too late for one question; that it never does, the test's limit ends. */
const eventuallyAnswers = ({ answers }: RunningServer) =>
  Effect.repeat(answers, { until: (isSo) => isSo, schedule: Schedule.spaced("50 millis") })

const query = <A extends object>(url: Redacted.Redacted<string>, statement: string) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    return yield* sql.unsafe<A>(statement)
  }).pipe(Effect.provide(ClientPostgres.layer({ url, applicationName: "test" })))

const isThere = (pid: number) => pid > 1 && isRunning(pid)

describe("the embedded PostgreSQL", () => {
  it.live("keeps what it acknowledged when it is killed, and starts again on it", () =>
    Effect.gen(function* () {
      const { options } = yield* places
      const server = yield* prepare(options)
      const first = yield* started(server)
      yield* query(server.url, "CREATE TABLE kept AS SELECT 'as it was' AS word")
      yield* first.kill
      assert.isFalse(isThere(first.pid))
      yield* started(server)
      assert.deepStrictEqual(yield* query(server.url, "SELECT word FROM kept"), [{ word: "as it was" }])
    })
  )

  it.live("is UTF-8 in the C order, with every write flushed and trigram search at hand", () =>
    Effect.gen(function* () {
      const { options } = yield* places
      const server = yield* prepare(options)
      yield* started(server)
      const settings = "SELECT current_setting('fsync') AS fsync, current_setting('server_encoding') AS encoding"
      assert.deepStrictEqual(yield* query(server.url, settings), [{ fsync: "on", encoding: "UTF8" }])
      yield* query(server.url, "CREATE EXTENSION pg_trgm")
    })
  )

  it.live("lets nobody in without its password, which only its owner can read", () =>
    Effect.gen(function* () {
      const { options } = yield* places
      const server = yield* prepare(options)
      yield* started(server)
      const guess = Redacted.make(Redacted.value(server.url).replace(/:[0-9a-f]{48}@/, ":guess@"))
      assert.isTrue(Result.isFailure(yield* Effect.result(query(guess, "SELECT 1"))))
      assert.strictEqual(statSync(options.passwordFile).mode & 0o777, 0o600)
      assert.strictEqual(statSync(options.folder).mode & 0o777, 0o700)
    })
  )

  it.live("says that it does not answer while it hangs, and stops all the same", () =>
    Effect.gen(function* () {
      const { options } = yield* places
      const running = yield* started(yield* prepare(options))
      yield* running.hang
      assert.isFalse(yield* running.answers)
      yield* running.resume
      yield* eventuallyAnswers(running)
      yield* running.hang
      yield* running.stop
      assert.isFalse(isThere(running.pid))
    })
  )

  it.live("ends the server that a killed supervisor left behind, even a hung one", () =>
    Effect.gen(function* () {
      const { options } = yield* places
      const server = yield* prepare(options)
      const orphan = yield* started(server)
      yield* orphan.hang
      const next = yield* started(yield* prepare(options))
      assert.isFalse(isThere(orphan.pid))
      yield* eventuallyAnswers(next)
    })
  )

  it.live("is not fooled by a pid file that names somebody else", () =>
    Effect.gen(function* () {
      const { options } = yield* places
      yield* prepare(options)
      const stranger = spawn("sleep", ["600"], { stdio: "ignore" })
      yield* Effect.promise(() => once(stranger, "spawn"))
      yield* Effect.addFinalizer(() => Effect.sync(() => stranger.kill("SIGKILL")))
      writeFileSync(join(options.folder, "data/postmaster.pid"), `${stranger.pid}\n`)
      const running = yield* started(yield* prepare(options))
      yield* eventuallyAnswers(running)
      assert.isTrue(isThere(stranger.pid ?? 0))
    })
  )

  it.live("sets a fresh password when the old one was lost", () =>
    Effect.gen(function* () {
      const { options } = yield* places
      yield* prepare(options)
      rmSync(options.passwordFile)
      const server = yield* prepare(options)
      yield* started(server)
      assert.deepStrictEqual(yield* query(server.url, "SELECT 1 AS one"), [{ one: 1 }])
    })
  )

  it.live("begins again when it was interrupted while making its cluster", () =>
    Effect.gen(function* () {
      const { options, root } = yield* places
      yield* prepare(options)
      rmSync(join(options.folder, "data"), { recursive: true })
      const unfinished = join(options.folder, "data.new")
      mkdirSync(unfinished)
      writeFileSync(join(unfinished, "PG_VERSION"), "half")
      yield* started(yield* prepare(options))
      assert.notInclude(readdirSync(join(root, "postgres")), "data.new")
    })
  )

  it.live("refuses data of another major version in one sentence", () =>
    Effect.gen(function* () {
      const { options } = yield* places
      yield* prepare(options)
      writeFileSync(join(options.folder, "data/PG_VERSION"), "17\n")
      const refusal = yield* Effect.flip(prepare(options))
      assert.match(refusal.sentence, /PostgreSQL 17, and this desk brings 18/)
    })
  )

  it.live("works in a folder that only the desk's account can enter", () =>
    Effect.gen(function* () {
      const { options, root } = yield* places
      chmodSync(root, 0o700)
      const server = yield* prepare(options)
      yield* started(server)
      assert.deepStrictEqual(yield* query(server.url, "SELECT 1 AS one"), [{ one: 1 }])
    })
  )

  it.live("leaves the reason in its log when it cannot start", () =>
    Effect.gen(function* () {
      const { options } = yield* places
      yield* started(yield* prepare(options))
      const second = { ...options, folder: `${options.folder}-2`, passwordFile: `${options.passwordFile}-2` }
      const running = yield* Effect.flatMap(prepare(second), (server) => server.start)
      assert.strictEqual(yield* running.ended, "exit code 1")
      assert.include(readFileSync(options.logFile, "utf8"), "could not bind")
    })
  )
})

describe("the account of the embedded PostgreSQL", () => {
  const passwd = () =>
    "root:x:0:0::/root:/bin/sh\npostgres:x:101:104::/var:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"

  it("is our own unless we are root", () => {
    assert.deepStrictEqual(accountForServer(1000, passwd), Result.succeed(undefined))
  })

  it("is postgres before nobody for root", () => {
    assert.deepStrictEqual(accountForServer(0, passwd), Result.succeed({ name: "postgres", uid: 101, gid: 104 }))
  })

  it("is refused in one sentence when there is none", () => {
    const refused = accountForServer(0, () => "root:x:0:0::/root:/bin/sh\n")
    assert.isTrue(Result.isFailure(refused))
  })
})
