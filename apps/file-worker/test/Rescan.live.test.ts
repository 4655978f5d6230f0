// Signatures change under a desk as it runs, on a real PostgreSQL and a clamd of its own: what was released before is looked at again by a worker
// that had been killed meanwhile, and what is bad by now is withdrawn, with its links, its copies and a word to the ticket.
import { existsSync, writeFileSync } from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { join } from "node:path"
import { expect, layer } from "@effect/vitest"
import * as HandleCommand from "@holdfast/commands/HandleCommand"
import type { FileReleased } from "@holdfast/contracts/attachment/Events"
import type { DeskEvent } from "@holdfast/contracts/DeskEvent"
import { CommandId, FileId, PrincipalId, type Sha256, StreamId, StreamVersion, TicketId } from "@holdfast/contracts/Ids"
import { AttachFile, OpenTicket } from "@holdfast/contracts/ticket/Commands"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import * as CommandStorePostgres from "@holdfast/database/CommandStorePostgres"
import { Database } from "@holdfast/database/Database"
import { EventLog } from "@holdfast/database/EventLog"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import { signLink } from "@holdfast/domain/attachment/DownloadLink"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { startStack } from "@holdfast/scripts/Stack"
import { principal, uuid } from "@holdfast/testkit/History"
import { Context, Effect, Layer, Option, Redacted, Schedule } from "effect"
import { downloadKey, freePort, RunningGateway, uploadAll } from "../../file-gateway/test/RunningGateway.ts"
import { RunningWorker } from "./RunningWorker.ts"

/** A clamd of the test's own. What it knows changes as it does in life; only its publisher could sign what its version is read from. */
class Signatures {
  readonly #folder: string
  readonly #port: number
  #version = 27_500
  constructor(folder: string, port: number) {
    this.#folder = folder
    this.#port = port
  }

  /** The worker's way to it. */
  readonly serve = (socket: Socket): void => {
    socket.on("error", () => socket.destroy())
    socket.once("data", (first) => {
      if (String(first) === "zVERSION\0") {
        return void socket.end(`ClamAV 1.4.6/${this.#version}/Mon Jan  5 09:00:00 2026\0`)
      }
      const clamd = connect(this.#port, "127.0.0.1")
      clamd.on("error", () => socket.destroy())
      clamd.write(first)
      socket.pipe(clamd).pipe(socket)
    })
  }

  /** Content with these words is bad once this is done. */
  async learn(words: string): Promise<void> {
    writeFileSync(join(this.#folder, "late.ndb"), `Late.Finding:0:*:${Buffer.from(words).toString("hex")}\n`)
    await this.#ask(Buffer.from("zRELOAD\0"))
    while (!(await this.#scan(words)).includes("Late.Finding")) await new Promise((done) => setTimeout(done, 50))
    this.#version++
  }

  #scan(words: string): Promise<string> {
    const content = Buffer.from(words)
    const size = Buffer.alloc(4)
    size.writeUInt32BE(content.length)
    return this.#ask(Buffer.concat([Buffer.from("zINSTREAM\0"), size, content, Buffer.alloc(4)]))
  }

  #ask(question: Buffer): Promise<string> {
    return new Promise((done, fail) => {
      const socket = connect(this.#port, "127.0.0.1", () => socket.write(question))
      let answer = ""
      socket.on("data", (data) => {
        answer += data
      })
      socket.on("error", fail).on("close", () => done(answer))
    })
  }
}

const ownClamd = Effect.gen(function* () {
  const stack = yield* Effect.acquireRelease(
    Effect.promise(() => startStack({ only: ["clamd"] })),
    ({ stop }) => Effect.promise(stop)
  )
  const { folder, port } = [...stack.servers.values()].map(({ plan }) => plan)[0] ?? { folder: "", port: 0 }
  const signatures = new Signatures(join(folder, "signatures"), port)
  const server = yield* Effect.acquireRelease(
    Effect.sync(() => createServer(signatures.serve)),
    (one) => Effect.sync(() => one.close())
  )
  const door = yield* Effect.promise(freePort)
  yield* Effect.callback<void>((resume) => void server.listen(door, "127.0.0.1", () => resume(Effect.void)))
  return { signatures, url: `tcp://127.0.0.1:${door}` }
})

class Desk extends Context.Service<
  Desk,
  { readonly gateway: RunningGateway; readonly worker: RunningWorker; readonly signatures: Signatures }
>()("test/Desk") {}

const desk = Layer.unwrap(
  Effect.gen(function* () {
    const databaseUrl = yield* migratedDatabase
    const { signatures, url: clamdUrl } = yield* ownClamd
    const gateway = yield* RunningGateway.make
    const { dataDir } = gateway
    const port = yield* Effect.promise(freePort)
    const worker = yield* RunningWorker.make({ dataDir, databaseUrl, clamdUrl, port })
    const core = HandleCommand.layer.pipe(
      Layer.provide(CommandStorePostgres.layer),
      Layer.provideMerge(EventLogPostgres.layer),
      Layer.provide(Database.layer),
      Layer.provide(ClientPostgres.layer({ url: databaseUrl, applicationName: "rescan test" })),
      Layer.provide(Health.layer)
    )
    return Layer.merge(Layer.succeed(Desk, { gateway, worker, signatures }), Layer.provideMerge(relay, core))
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

const upload = Effect.fnUntraced(function* (name: string, content: string) {
  const { gateway } = yield* Desk
  const bytes = Buffer.from(content)
  const { url } = yield* Effect.promise(async () =>
    uploadAll({ endpoint: `${gateway.url}/files/`, token: await gateway.token("carol"), content: bytes, name })
  )
  return FileId.make(url.split("/").at(-1) ?? "")
})

const historyOf = (streamId: string) =>
  EventLog.use((log) => log.readStream(StreamId.make(streamId), StreamVersion.make(0)))

/** The first such event of a file or ticket, once it is there. */
const once = <Tag extends DeskEvent["_tag"]>(streamId: string, tag: Tag) =>
  historyOf(streamId).pipe(
    Effect.flatMap((history) => Effect.fromNullishOr(history.find(({ event }) => event._tag === tag))),
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.timeout("120 seconds")
  )

const isReleased = (event: DeskEvent): event is FileReleased => event._tag === "FileReleased"

const contentOf = (fileId: FileId) =>
  Effect.map(historyOf(fileId), (history) => {
    const content = history.map(({ event }) => event).find(isReleased)?.content
    if (content === undefined) throw new Error("it is not released")
    return content
  })

const download = Effect.fnUntraced(function* (fileId: FileId) {
  const { gateway } = yield* Desk
  const facts = { fileId, name: "a.txt", principalId: PrincipalId.make("carol"), expiresAtSeconds: 4_000_000_000 }
  const query = signLink(Redacted.make(downloadKey), { ...facts, ...(yield* contentOf(fileId)) })
  return (yield* Effect.promise(() => fetch(`${gateway.url}/download/${fileId}?${query}`))).status
})

const isStored = (sha256: Sha256) =>
  Effect.map(Desk, ({ gateway }) => existsSync(join(gateway.dataDir, "files/released", sha256.slice(0, 2), sha256)))

const carol = principal("customer", "carol")

const attach = Effect.fnUntraced(function* (fileId: FileId) {
  const bus = yield* CommandBus
  const issue = (commandId: CommandId, command: Parameters<typeof bus.execute>[0]["command"]) =>
    bus.execute({ principal: carol, meta: { commandId }, command, causationId: Option.none() })
  const opened = CommandId.make(uuid(1))
  yield* issue(opened, OpenTicket.command.make({ subject: "Printer", body: "It burns." }))
  const ticketId = TicketId.make(opened)
  yield* issue(CommandId.make(uuid(2)), AttachFile.command.make({ ticketId, fileId, name: "letter.txt" }))
  return ticketId
})

layer(desk, { timeout: 180_000, excludeTestServices: true })("a desk whose scanner learns something", (it) => {
  it.effect(
    "withdraws what is bad by now, tells its ticket, and leaves the rest as it is",
    () =>
      Effect.gen(function* () {
        const { signatures, worker } = yield* Desk
        const words = "words that nobody knew anything about"
        const bad = yield* upload("letter.txt", `Dear desk, ${words}.`)
        const copy = yield* upload("copy.txt", `Dear desk, ${words}.`)
        const good = yield* upload("other.txt", "Dear desk, nothing new.")
        for (const fileId of [bad, copy, good]) yield* once(fileId, "FileReleased")
        const ticketId = yield* attach(bad)
        const { sha256 } = yield* contentOf(bad)
        expect([yield* download(bad), yield* download(copy), yield* isStored(sha256)]).toEqual([200, 200, true])

        yield* Effect.promise(() => worker.end("SIGKILL"))
        yield* Effect.promise(() => signatures.learn(words))
        yield* Effect.promise(() => worker.start())

        const withdrawn = yield* once(bad, "FileWithdrawn")
        expect(withdrawn.event).toMatchObject({
          reason: "malware",
          tool: { signatureVersion: expect.stringMatching(/^27501/) }
        })
        yield* once(copy, "FileWithdrawn")
        expect((yield* once(good, "FileRescanned")).event).toMatchObject({
          tool: { signatureVersion: expect.stringMatching(/^27501/) }
        })
        yield* once(ticketId, "AttachmentWithdrawn")
        expect((yield* once(ticketId, "NoteAdded")).visibility.audience).toBe("internal")
        // The copy's links die after its event.
        yield* Effect.repeat(download(copy), {
          until: (status) => status === 410,
          schedule: Schedule.spaced("50 millis")
        })
        expect([yield* download(bad), yield* download(copy), yield* download(good)]).toEqual([410, 410, 200])
        expect(yield* isStored(sha256)).toBe(false)
      }),
    180_000
  )

  it.effect("takes the same content anew, judges it by what is known now, and looks at nothing again for it", () =>
    Effect.gen(function* () {
      const again = yield* upload("again.txt", "Dear desk, words that nobody knew anything about.")
      expect((yield* once(again, "FileRejected")).event).toMatchObject({ reason: "malware", stage: "scan" })
    })
  )
})
