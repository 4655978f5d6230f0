// The commands on files as an operator types them, on a database and a data folder whose processes do not run, and then with the file worker
// beside them.
import { createHash, randomUUIDv7 } from "node:crypto"
import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { expect, layer } from "@effect/vitest"
import * as HandleCommand from "@holdfast/commands/HandleCommand"
import { RecordFileStages, RegisterFile, StageOutcome } from "@holdfast/contracts/attachment/Commands"
import {
  CommandId,
  CorrelationId,
  FileId,
  PrincipalId,
  Sha256,
  StreamId,
  StreamVersion,
  TicketId
} from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import * as CommandStorePostgres from "@holdfast/database/CommandStorePostgres"
import { Database } from "@holdfast/database/Database"
import { EventLog } from "@holdfast/database/EventLog"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { ProcessUnderTest } from "@holdfast/testkit/ProcessUnderTest"
import { Console, Context, Effect, Layer, Option, Redacted, Schedule } from "effect"
import { Command } from "effect/cli"
import { files } from "../src/cli/Files.ts"
import { deskEnvironment, type Environment, holdfast } from "./RunningDesk.ts"

/** As a process of its own. */
const spawnIn =
  (environment: Environment) =>
  (...args: ReadonlyArray<string>) =>
    Effect.promise(() => holdfast(environment, "files", ...args).ended)

/** In this process, which takes a fiftieth of the time. */
const askIn =
  (environment: Environment) =>
  (...args: ReadonlyArray<string>) =>
    Effect.suspend(() => {
      const said = { stdout: "", stderr: "" }
      const console = {
        ...globalThis.console,
        log: (text: string) => {
          said.stdout += `${text}\n`
        },
        error: (text: string) => {
          said.stderr += `${text}\n`
        }
      }
      const before = { ...process.env }
      Object.assign(process.env, environment)
      return Command.runWith(files, { version: "test" })(args).pipe(
        Effect.as(0),
        Effect.catchTag("Refusal", ({ exitCode, sentence }) => {
          said.stderr += sentence
          return Effect.succeed(exitCode)
        }),
        Effect.map((code) => ({ code, ...said })),
        Effect.provideService(Console.Console, console),
        Effect.provide(NodeServices.layer),
        Effect.ensuring(
          Effect.sync(() => {
            for (const name of Object.keys(environment)) delete process.env[name]
            Object.assign(process.env, before)
          })
        )
      )
    })

class Operator extends Context.Service<
  Operator,
  {
    readonly dataDir: string
    readonly environment: Environment
    readonly ask: ReturnType<typeof askIn>
    readonly spawn: ReturnType<typeof spawnIn>
  }
>()("test/Operator") {}

const operator = Layer.unwrap(
  Effect.gen(function* () {
    const url = yield* migratedDatabase
    const dataDir = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-files-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
    const ports = yield* Effect.promise(() => deskEnvironment(dataDir))
    const environment = { ...ports, HOLDFAST_DATABASE_URL: Redacted.value(url) }
    const core = Layer.provideMerge(EventLogPostgres.layer, Database.layer).pipe(
      Layer.provideMerge(ClientPostgres.layer({ url, applicationName: "files test" })),
      Layer.provide(Health.layer)
    )
    const commands = HandleCommand.layer.pipe(Layer.provide(CommandStorePostgres.layer))
    return Layer.merge(
      Layer.succeed(Operator, { dataDir, environment, ask: askIn(environment), spawn: spawnIn(environment) }),
      Layer.provideMerge(Layer.merge(commands, relay), core)
    )
  })
)

/** Gives positions, as the relay does. */
const relay = Layer.effectDiscard(
  EventLog.use((log) => log.assignPositions(100)).pipe(
    Effect.ignore({ log: true }),
    Effect.repeat(Schedule.spaced("50 millis")),
    Effect.forkScoped
  )
)

const fileWorker: Principal = { id: PrincipalId.make("file-worker"), role: "service" }
const tool = { name: "clamd", version: "1.4", signatureVersion: "27000" }
const ticketId = TicketId.make(randomUUIDv7())

const sha256Of = (text: string) => Sha256.make(createHash("sha256").update(text).digest("hex"))

/** Registered, and taken through these stages; the log shows all of it. */
const file = Effect.fnUntraced(function* (text: string, ...outcomes: ReadonlyArray<StageOutcome>) {
  const bus = yield* CommandBus
  const log = yield* EventLog
  const fileId = FileId.make(randomUUIDv7())
  const meta = () => ({
    commandId: CommandId.make(randomUUIDv7()),
    correlationId: CorrelationId.make(randomUUIDv7())
  })
  const issue = (command: Parameters<typeof bus.execute>[0]["command"]) =>
    bus.execute({ principal: fileWorker, meta: meta(), command, causationId: Option.none() })
  const facts = { name: `${text}.txt`, sizeBytes: text.length, declaredType: "text/plain", ticketId }
  let last = yield* issue(
    RegisterFile.command.make({ fileId, sha256: sha256Of(text), ownerId: fileWorker.id, ...facts })
  )
  const stages = ["identify", "scan", "convert", "release"] as const
  for (const [index, outcome] of outcomes.entries()) {
    const stage = stages[index]
    if (stage === undefined) break
    last = yield* issue(RecordFileStages.command.make({ fileId, stages: [{ stage, durationMs: 7, outcome, tool }] }))
  }
  yield* log
    .readStream(StreamId.make(fileId), StreamVersion.make(last.version - 1))
    .pipe(
      Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: (shown) => shown.length > 0 }),
      Effect.timeout("60 seconds")
    )
  return fileId
})

const passed = {
  identified: StageOutcome.cases.Identified.make({ mediaType: "text/plain" }),
  clean: StageOutcome.cases.Clean.make({}),
  converted: StageOutcome.cases.Converted.make({ derivatives: [] }),
  released: StageOutcome.cases.Released.make({})
}
const failed = StageOutcome.cases.Failed.make({ detail: "the scanner runs out of time on this file" })
const toRelease = [passed.identified, passed.clean, passed.converted, passed.released]

const store = (dataDir: string, place: "quarantine" | "released", text: string, daysOld = 0): string => {
  const folder = join(dataDir, "files", place, sha256Of(text).slice(0, 2))
  mkdirSync(folder, { recursive: true })
  const path = join(folder, sha256Of(text))
  writeFileSync(path, text)
  const at = new Date(Date.now() - daysOld * 86_400_000)
  utimesSync(path, at, at)
  return path
}

const workerMain = fileURLToPath(new URL("../../file-worker/src/main.ts", import.meta.url))

layer(operator, { excludeTestServices: true, timeout: "90 seconds" })("holdfast files", (it) => {
  it.effect("shows, lists, verifies and repairs while no process runs", () =>
    Effect.gen(function* () {
      const { ask, dataDir, spawn } = yield* Operator
      const released = yield* file("released", ...toRelease)
      const parked = yield* file("parked", passed.identified, failed)
      yield* file("waiting")
      store(dataDir, "released", "released")
      for (const text of ["released", "parked", "waiting"]) store(dataDir, "quarantine", text)

      const shown = yield* ask("show", released)
      expect(shown.stderr).toBe("")
      for (const words of [
        "released.txt",
        `on ticket ${ticketId}`,
        "clamd 1.4",
        "27000",
        "7 ms",
        "released, quarantine"
      ]) {
        expect(shown.stdout).toContain(words)
      }
      const facts = JSON.parse((yield* ask("show", parked, "--json")).stdout)
      expect(facts).toMatchObject({
        state: "parked",
        contents: [{ what: "uploaded", isQuarantined: true, isReleased: false }],
        timeline: [{ stage: "identify" }, { stage: "scan", outcome: "parked" }]
      })
      const unknown = yield* ask("show", randomUUIDv7())
      expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining("There is no file")])

      const listed = JSON.parse((yield* ask("show", "--state", "waiting", "--json")).stdout)
      expect(listed).toMatchObject([{ state: "received", stage: "identify", ownerId: "file-worker" }])
      expect((yield* ask("show", "--state", "parked", "--older", "1h")).stdout.trim()).toBe("There is none.")

      const well = yield* ask("verify", "--deep", "--json")
      expect([well.code, well.stdout.trim().split("\n").length]).toEqual([0, 1])
      expect(JSON.parse(well.stdout)).toMatchObject({ kind: "sum", files: 3, contents: 4, keptForNow: 1, damage: 0 })

      const old = store(dataDir, "released", "nobody needs this", 8)
      const left = yield* ask("verify")
      expect([left.code, left.stdout]).toEqual([5, expect.stringContaining("8 days old")])
      rmSync(store(dataDir, "quarantine", "waiting"))
      const lacking = yield* spawn("verify", "--repair")
      expect([lacking.code, lacking.stdout]).toEqual([4, expect.stringMatching(/MISSING .*1 removed/s)])
      expect(() => utimesSync(old, 0, 0)).toThrow("ENOENT")
      store(dataDir, "quarantine", "waiting")
    })
  )

  it.effect("asks while no process runs, and says what became of it when one does", () =>
    Effect.gen(function* () {
      const { ask, dataDir, environment } = yield* Operator
      const parked = yield* file("again", passed.identified, failed)
      const other = yield* file("again too", passed.identified, failed)
      const released = yield* file("looked at again", ...toRelease)
      for (const text of ["parked", "again", "again too", "looked at again"]) store(dataDir, "quarantine", text)
      store(dataDir, "released", "looked at again")

      const first = yield* ask("retry", parked, released, "--wait", "1s", "--json")
      expect(first.code).toBe(1)
      expect(JSON.parse(first.stdout)).toEqual([
        { fileId: parked, refused: null, state: "identified", underWay: true },
        { fileId: released, refused: "is released, not parked", state: null, underWay: false }
      ])
      const asked = yield* ask("rescan", "--released-since", "1h", "--wait", "1s")
      expect([asked.code, asked.stdout]).toEqual([
        0,
        expect.stringMatching(new RegExp(`${released} .*asked for; released so far`))
      ])

      const worker = new ProcessUnderTest(workerMain)
      yield* Effect.acquireRelease(
        Effect.promise(() => worker.start(environment)),
        () => Effect.promise(() => worker.end("SIGKILL"))
      )
      const all = yield* ask("retry", "--all-parked", "--wait", "30s", "--json")
      const became: ReadonlyArray<{ fileId: string; state: string }> = JSON.parse(all.stdout)
      expect(all.code).toBe(0)
      expect(became.map(({ state }) => state)).toEqual(became.map(() => "released"))
      expect(became.map(({ fileId }) => fileId)).toContain(other)
    }).pipe(Effect.scoped)
  )
})
