// Two machines and one bucket: what was uploaded and released on one is given by the other, which shares nothing with it but object storage.
// While that is away uploads are taken all the same, and released once it is back.
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, layer } from "@effect/vitest"
import type { FileReleased } from "@holdfast/contracts/attachment/Events"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { FileId, PrincipalId, StreamId, StreamVersion } from "@holdfast/contracts/Ids"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { Database } from "@holdfast/database/Database"
import { EventLog } from "@holdfast/database/EventLog"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import { signLink } from "@holdfast/domain/attachment/DownloadLink"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { ProcessUnderTest } from "@holdfast/testkit/ProcessUnderTest"
import { eventually } from "@holdfast/testkit/Signals"
import { Context, Effect, Layer, Redacted, Schedule } from "effect"
import { type S3Server, startS3Server } from "../../../packages/adapters/storage/test/S3Server.ts"
import { downloadKey, freePort, RunningGateway, uploadAll } from "../../file-gateway/test/RunningGateway.ts"
import { RunningWorker } from "./RunningWorker.ts"

class Machines extends Context.Service<
  Machines,
  { readonly here: RunningGateway; readonly elsewhere: string; readonly storage: S3Server }
>()("test/Machines") {}

const gatewayMain = fileURLToPath(new URL("../../file-gateway/src/main.ts", import.meta.url))

/** A gateway with a disk of its own. */
const gatewayElsewhere = Effect.fnUntraced(function* (settings: Readonly<Record<string, string>>) {
  const port = yield* Effect.promise(freePort)
  yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const dataDir = mkdtempSync(join(tmpdir(), "holdfast-elsewhere-"))
      const gateway = new ProcessUnderTest(gatewayMain)
      await gateway.start({ ...settings, HOLDFAST_DATA_DIR: dataDir, HOLDFAST_FILE_PORT: String(port) })
      return { dataDir, gateway }
    }),
    ({ dataDir, gateway }) =>
      Effect.promise(async () => {
        await gateway.end("SIGKILL")
        rmSync(dataDir, { recursive: true, force: true })
      })
  )
  return `http://127.0.0.1:${port}`
})

/** Gives positions, as the relay does. */
const relay = Layer.effectDiscard(
  EventLog.use((log) => log.assignPositions(100)).pipe(
    Effect.ignore({ log: true }),
    Effect.repeat(Schedule.spaced("50 millis")),
    Effect.forkScoped
  )
)

const machines = Layer.unwrap(
  Effect.gen(function* () {
    const databaseUrl = yield* migratedDatabase
    const storage = yield* startS3Server()
    const settings = {
      HOLDFAST_STORAGE_URL: `s3://holdfast@127.0.0.1:${storage.port}/desk?tls=false`,
      HOLDFAST_STORAGE_ACCESS_KEY: Redacted.value(storage.options.accessKey),
      HOLDFAST_STORAGE_SECRET_KEY: Redacted.value(storage.options.secretKey)
    }
    const here = yield* RunningGateway.make
    const { dataDir } = here
    const port = yield* Effect.promise(freePort)
    yield* RunningWorker.make({ dataDir, databaseUrl, port, settings })
    const jwks = join(dataDir, "keys", "jwks.json")
    const elsewhere = yield* gatewayElsewhere({ ...settings, HOLDFAST_JWKS: jwks, HOLDFAST_DOWNLOAD_KEY: downloadKey })
    const log = EventLogPostgres.layer.pipe(
      Layer.provide(Database.layer),
      Layer.provide(ClientPostgres.layer({ url: databaseUrl, applicationName: "object storage test" })),
      Layer.provide(Health.layer)
    )
    return Layer.merge(Layer.succeed(Machines, { here, elsewhere, storage }), Layer.provideMerge(relay, log))
  })
)

const upload = Effect.fnUntraced(function* (text: string) {
  const { here } = yield* Machines
  const content = Buffer.from(text)
  const { url } = yield* Effect.promise(async () =>
    uploadAll({ endpoint: `${here.url}/files/`, token: await here.token("ada"), content, name: "note.txt" })
  )
  return FileId.make(url.split("/").at(-1) ?? "")
})

type Event = Envelope["event"]

const isReleased = (event: Event): event is FileReleased => event._tag === "FileReleased"

const eventsOf = (fileId: FileId) =>
  EventLog.use((log) => log.readStream(StreamId.make(fileId), StreamVersion.make(0))).pipe(
    Effect.map((history) => history.map(({ event }) => event))
  )

const released = (fileId: FileId) =>
  eventually("the file is released", eventsOf(fileId), (events) => events.some(isReleased)).pipe(
    Effect.map((events) => events.find(isReleased)?.content)
  )

const linkTo = (fileId: FileId, content: FileReleased["content"]) =>
  `/download/${fileId}?${signLink(Redacted.make(downloadKey), {
    fileId,
    sha256: content.sha256,
    name: "note.txt",
    mediaType: "text/plain",
    principalId: PrincipalId.make("ada"),
    expiresAtSeconds: Math.floor(Date.now() / 1000) + 600
  })}`

const ask = (url: string, headers: Record<string, string> = {}) =>
  Effect.promise(async () => {
    const answer = await fetch(url, { headers })
    return [answer.status, await answer.text()] as const
  })

layer(machines, { timeout: "60 seconds", excludeTestServices: true })("a desk with object storage", (it) => {
  it.effect("gives on one machine what was released on another", () =>
    Effect.gen(function* () {
      const { elsewhere, here } = yield* Machines
      const fileId = yield* upload("a note for everybody")
      const content = yield* released(fileId)
      expect(content).toBeDefined()
      if (content === undefined) return
      const url = `${elsewhere}${linkTo(fileId, content)}`
      expect(yield* ask(url)).toEqual([200, "a note for everybody"])
      expect(yield* ask(url, { range: "bytes=2-5" })).toEqual([206, "note"])
      const kept = readdirSync(join(here.dataDir, "files"), { recursive: true }).map(String)
      expect(kept.filter((path) => path.startsWith("released/") && path.includes(content.sha256))).toEqual([])
    })
  )

  it.effect("takes uploads while it is away, says so to downloads, and goes on when it is back", () =>
    Effect.gen(function* () {
      const { elsewhere, storage } = yield* Machines
      const before = yield* upload("released before")
      const content = yield* released(before)
      if (content === undefined) return expect(content).toBeDefined()
      yield* storage.kill
      const meanwhile = yield* upload("uploaded meanwhile")
      yield* eventually("the stages go on", eventsOf(meanwhile), (events) =>
        events.some(({ _tag }) => _tag === "FileConverted")
      )
      const [status] = yield* ask(`${elsewhere}${linkTo(before, content)}`)
      expect(status).toBe(503)
      const readiness = yield* Effect.promise(async () => (await fetch(`${elsewhere}/health/ready`)).json())
      expect(readiness).toMatchObject({
        dependencies: expect.arrayContaining([expect.objectContaining({ dependency: "object-storage", needed: false })])
      })
      expect((yield* eventsOf(meanwhile)).some(isReleased)).toBe(false)
      yield* startS3Server(storage)
      expect(yield* released(meanwhile)).toBeDefined()
      const answered = ask(`${elsewhere}${linkTo(before, content)}`)
      const [, text] = yield* eventually("downloads go on", answered, ([is]) => is === 200)
      expect(text).toBe("released before")
    })
  )
})
