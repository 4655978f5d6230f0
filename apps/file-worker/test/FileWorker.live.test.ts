// Both file processes as they run, on a real PostgreSQL and the real clamd: from an upload to a download, through a worker that is killed,
// a scanner that is away, and a database that was not there when the bytes came.
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, layer } from "@effect/vitest"
import type { FileEvent } from "@holdfast/contracts/attachment/Events"
import { FileId, PrincipalId, StreamId, StreamVersion } from "@holdfast/contracts/Ids"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { Database } from "@holdfast/database/Database"
import { EventLog } from "@holdfast/database/EventLog"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import { signLink } from "@holdfast/domain/attachment/DownloadLink"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { type FaultProxy, faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { Config, Context, Effect, Layer, Redacted, Schedule } from "effect"
import { downloadKey, freePort, RunningGateway, uploadAll } from "../../file-gateway/test/RunningGateway.ts"
import { RunningWorker } from "./RunningWorker.ts"

class Desk extends Context.Service<
  Desk,
  { readonly gateway: RunningGateway; readonly worker: RunningWorker; readonly clamd: FaultProxy }
>()("test/Desk") {}

const desk = Layer.unwrap(
  Effect.gen(function* () {
    const databaseUrl = yield* migratedDatabase
    const clamdUrl = yield* Config.String("HOLDFAST_TEST_CLAMD_URL")
    const clamd = yield* faultProxy(targetOf(clamdUrl))
    const gateway = yield* RunningGateway.make
    const { dataDir } = gateway
    const port = yield* Effect.promise(freePort)
    const worker = yield* RunningWorker.make({ dataDir, databaseUrl, clamdUrl: clamd.through(clamdUrl), port })
    const log = EventLogPostgres.layer.pipe(
      Layer.provide(Database.layer),
      Layer.provide(ClientPostgres.layer({ url: databaseUrl, applicationName: "file test" })),
      Layer.provide(Health.layer)
    )
    return Layer.merge(Layer.succeed(Desk, { gateway, worker, clamd }), Layer.provideMerge(relay, log))
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

const upload = Effect.fnUntraced(function* (name: string, content: Buffer) {
  const { gateway } = yield* Desk
  const { url } = yield* Effect.promise(async () =>
    uploadAll({ endpoint: `${gateway.url}/files/`, token: await gateway.token("ada"), content, name })
  )
  return FileId.make(url.split("/").at(-1) ?? "")
})

const eventsOf = (fileId: FileId) =>
  EventLog.use((log) => log.readStream(StreamId.make(fileId), StreamVersion.make(0))).pipe(
    Effect.map((history) => history.map(({ event }) => event))
  )

/** The event that ended the pipeline's work, once it is there. */
const outcome = (
  fileId: FileId,
  ends: ReadonlyArray<FileEvent["_tag"]> = ["FileReleased", "FileRejected", "FileParked"]
) =>
  eventsOf(fileId).pipe(
    Effect.flatMap((events) => Effect.fromNullishOr(events.find((event) => ends.some((end) => end === event._tag)))),
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.timeout("120 seconds")
  )

const folder = "/usr/share/clamav-testfiles"
const png = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64"
)
// Kept reversed so that no scanner takes this file for the test string.
const eicar = Buffer.from(
  [..."*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X"].reverse().join("")
)

layer(desk, { timeout: 180_000, excludeTestServices: true })("the file flow", (it) => {
  it.effect("releases text, and gives it to whoever holds a link", () =>
    Effect.gen(function* () {
      const { gateway } = yield* Desk
      const content = Buffer.from("Dear desk, it is broken.")
      const fileId = yield* upload("letter.txt", content)
      const released = yield* outcome(fileId)
      expect(released).toMatchObject({ _tag: "FileReleased", content: { mediaType: "text/plain" } })
      if (released._tag !== "FileReleased") return
      const claims = {
        fileId,
        name: "letter.txt",
        principalId: PrincipalId.make("ada"),
        expiresAtSeconds: 4_000_000_000
      }
      const query = signLink(Redacted.make(downloadKey), { ...claims, ...released.content })
      const answer = yield* Effect.promise(() => fetch(`${gateway.url}/download/${fileId}?${query}`))
      expect(yield* Effect.promise(() => answer.text())).toBe(content.toString())
      expect(gateway.journal()).toEqual([])
    })
  )

  it.effect("replaces an image by a clean copy with a thumbnail", () =>
    Effect.gen(function* () {
      const fileId = yield* upload("dot.png", png)
      expect(yield* outcome(fileId)).toMatchObject({ _tag: "FileReleased", content: { mediaType: "image/png" } })
      const converted = (yield* eventsOf(fileId)).find((event) => event._tag === "FileConverted")
      expect(converted).toMatchObject({ derivatives: [{ kind: "original" }, { kind: "thumbnail" }] })
    })
  )

  it.effect("rejects the test string, and names clamd", () =>
    Effect.gen(function* () {
      const rejected = yield* outcome(yield* upload("harmless.txt", eicar))
      expect(rejected).toMatchObject({ _tag: "FileRejected", reason: "malware", tool: { name: "clamd" } })
    })
  )

  it.effect(
    "rejects every one of Debian's test files",
    () =>
      Effect.gen(function* () {
        const names = readdirSync(folder)
        const send = (name: string) => upload(name, readFileSync(join(folder, name)))
        const fileIds = yield* Effect.forEach(names, send, { concurrency: 4 })
        const outcomes = yield* Effect.forEach(fileIds, (fileId) => outcome(fileId), { concurrency: 8 })
        expect(names).toHaveLength(44)
        expect(names.filter((_, index) => outcomes[index]?._tag !== "FileRejected")).toEqual([])
      }),
    180_000
  )

  it.effect("lets files wait while the scanner is away", () =>
    Effect.gen(function* () {
      const { clamd } = yield* Desk
      yield* clamd.set({ _tag: "Refuse" })
      const fileId = yield* upload("waiting.txt", Buffer.from("patience")).pipe(
        Effect.tap((id) => outcome(id, ["FileIdentified"])),
        Effect.ensuring(clamd.set({ _tag: "Pass" }))
      )
      expect(yield* outcome(fileId)).toMatchObject({ _tag: "FileReleased" })
    })
  )

  it.effect(
    "goes on where a killed worker left off, with what came meanwhile",
    () =>
      Effect.gen(function* () {
        const { worker } = yield* Desk
        const large = yield* upload("large.bin", Buffer.alloc(24 << 20, "holdfast "))
        yield* outcome(large, ["FileReceived"])
        yield* Effect.promise(() => worker.end("SIGKILL"))
        const meanwhile = yield* upload("meanwhile.txt", Buffer.from("nobody is there"))
        yield* Effect.promise(() => worker.start())
        expect(yield* outcome(large)).toMatchObject({ _tag: "FileReleased" })
        expect(yield* outcome(meanwhile)).toMatchObject({ _tag: "FileReleased" })
        const stages = (yield* eventsOf(large)).map((event) => event._tag)
        expect(stages).toEqual(["FileReceived", "FileIdentified", "FileScanned", "FileConverted", "FileReleased"])
      }),
    180_000
  )

  it.effect("stops when told to, with exit code 0", () =>
    Effect.gen(function* () {
      const { worker } = yield* Desk
      expect(yield* Effect.promise(() => worker.end("SIGTERM"))).toBe(0)
    })
  )
})
