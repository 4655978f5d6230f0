// The typed client against a real desk through lines that break in every way at every service: commands land once, feeds are exact, uploads
// resume, and an outbox loses nothing to kill -9.
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "@effect/vitest"
import { createClient } from "@holdfast/client"
import { Feeds } from "@holdfast/client/Limits"
import { openOutbox } from "@holdfast/client/Outbox"
import type { QueryOutcome } from "@holdfast/client/Queries"
import { memoryStore } from "@holdfast/client/StoreMemory"
import { type Fault, type FaultProxy, targetOf } from "@holdfast/testkit/Faults"
import { Effect, Exit, Schema, Scope } from "effect"
import { until } from "../flows/Clients.ts"
import { type ClientWorld, clientWorld, conversationOf, openTicket, watch } from "./ClientWorld.ts"
import { plainProxy } from "./PlainProxy.ts"

const scope = Scope.makeUnsafe()
let world: ClientWorld
beforeAll(async () => {
  world = await Effect.runPromise(Scope.provide(clientWorld(), scope))
}, 240_000)
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)), 60_000)

const put = (line: FaultProxy, fault: Fault) => Effect.runPromise(line.set(fault))
const pass: Fault = { _tag: "Pass" }
// What one test has broken is not the next one's.
afterEach(async () => {
  for (const line of Object.values(world.lines)) await put(line, pass)
})
const breaking: ReadonlyArray<Fault> = [
  { _tag: "LoseAnswers" },
  { _tag: "Reset" },
  { _tag: "Refuse" },
  { _tag: "CutAfter", bytes: 200, direction: "toServer" },
  { _tag: "CutAfter", bytes: 100, direction: "toClient" }
]

describe("commands", () => {
  it.each(breaking.map((fault) => [JSON.stringify(fault), fault] as const))(
    "land once through %s",
    async (_, fault) => {
      const { attempts, client, direct, lines } = world
      const ticketId = await openTicket(direct)
      const bodies = ["one", "two"]
      const before = attempts()
      await put(lines.command, fault)
      const sending = bodies.map((body) => client.commands.ReplyToTicket({ ticketId, body }))
      await until("each was tried twice", async () => (attempts() >= before + 2 * bodies.length ? true : null))
      await put(lines.command, pass)
      const outcomes = await Promise.all(sending)
      expect(outcomes.map(({ status }) => status)).toEqual(bodies.map(() => "accepted"))
      const said = (await conversationOf(direct, ticketId, bodies.length + 1)).map(({ body }) => body)
      expect(said.slice(1).toSorted()).toEqual(bodies.toSorted())
    }
  )

  it("wait out a line that hangs", async () => {
    const { client, direct, lines } = world
    const ticketId = await openTicket(direct)
    await put(lines.command, { _tag: "Hang" })
    const reply = client.commands.ReplyToTicket({ ticketId, body: "hello?" })
    await until("it is under way", async () => (lines.command.connections() > 0 ? true : null))
    await put(lines.command, pass)
    expect((await reply).status).toBe("accepted")
    expect((await conversationOf(direct, ticketId, 2)).length).toBe(2)
  })

  it("that may be done are told so, and the truth comes with the same id", async () => {
    const { client, direct, lines } = world
    const ticketId = await openTicket(direct)
    await put(lines.command, { _tag: "LoseAnswers" })
    const lost = await client.commands.ReplyToTicket({ ticketId, body: "perhaps" }, { deadlineMs: 700 })
    await put(lines.command, pass)
    expect(lost.status).toBe("unknown")
    const { commandId } = lost
    const again = await client.commands.ReplyToTicket({ ticketId, body: "perhaps" }, { commandId })
    expect(again.status).toBe("accepted")
    expect((await conversationOf(direct, ticketId, 2)).map(({ body }) => body)).toEqual(["Can you hear me?", "perhaps"])
  })
})

/** Null for what a busy read database leaves to the cache, which may be behind, or to nobody. */
const live = async <A>(asking: Promise<QueryOutcome<A>>) => {
  const outcome = await asking
  return outcome.status === "answered" && outcome.freshness?.source === "live" ? outcome : null
}

describe("queries", () => {
  it("read your own writes, with their freshness, and find them", async () => {
    const { client } = world
    const opened = await client.commands.OpenTicket({ subject: "Quixotic windmill", body: "It turns." })
    if (opened.status !== "accepted") throw new Error(opened.status)
    const version = { atLeastVersion: opened.version }
    const read = await until("the ticket is read from the read database", () =>
      live(client.queries.ticket(opened.streamId, version))
    )
    expect(read).toMatchObject({ status: "answered", data: { number: opened.number }, freshness: { source: "live" } })
    const list = await until("the list is read", () => live(client.queries.tickets("all", { first: 5 })))
    expect(list.data?.nodes.map(({ id }) => id)).toContain(opened.streamId)
    const found = await until("the search is answered", () => live(client.queries.search("quixotic")))
    expect(found.data?.nodes[0]?.ticket.id).toBe(opened.streamId)
    expect(await client.queries.me()).toMatchObject({ status: "answered", data: { id: "ada", role: "agent" } })
    const volume = await client.queries.volume(new Date(Date.now() - 3_600_000), 2)
    expect(volume.status).toBe("answered")
  })

  it("are asked again until the line carries them, and tell what is the caller's fault at once", async () => {
    const { attempts, client, lines } = world
    const before = attempts()
    await put(lines.query, { _tag: "Reset" })
    const asking = client.queries.me()
    await until("it was tried twice", async () => (attempts() >= before + 2 ? true : null))
    await put(lines.query, pass)
    expect((await asking).status).toBe("answered")
    const wrong = { status: "failed", code: "BAD_USER_INPUT" }
    expect(await client.queries.tickets("all", { first: 1_000 })).toMatchObject(wrong)
    expect(await client.query("{ nothing }", {}, Schema.Unknown)).toMatchObject(wrong)
  })
})

describe("a feed", () => {
  it("has each change once and in order, whatever cuts it, beginning with a snapshot", async () => {
    const { client, direct, lines } = world
    const ticketId = await openTicket(direct)
    await conversationOf(direct, ticketId, 1)
    const watched = watch(client, ticketId, "snapshot")
    const said: Array<string> = []
    const say = async (body: string) => {
      said.push(body)
      expect((await direct.commands.ReplyToTicket({ ticketId, body })).status).toBe("accepted")
    }
    await until("it is live", async () => (watched.items.some((item) => item.type === "state") ? true : null))
    const faults: ReadonlyArray<Fault> = [
      { _tag: "Reset" },
      { _tag: "Refuse" },
      { _tag: "Hang" },
      { _tag: "CutAfter", bytes: 900, direction: "toClient" },
      { _tag: "LoseAnswers" }
    ]
    for (const fault of faults) {
      await put(lines.realtime, fault)
      await say(`during ${fault._tag}`)
      await put(lines.realtime, pass)
      await say(`after ${fault._tag}`)
    }
    await until("all of it has come", async () => (watched.bodies().length >= said.length ? true : null))
    watched.stop()
    expect(watched.bodies()).toEqual(said)
    expect(watched.items[0]).toMatchObject({ type: "snapshot", reason: "asked", data: { id: ticketId } })
    const states = watched.items.flatMap((item) => (item.type === "state" ? [item.state] : []))
    expect(states).toContain("away")
    expect(watched.items.filter(({ type }) => type === "ended")).toEqual([])
  })

  it("goes by event streams where a proxy refuses sockets, each change once and in order over cuts", async () => {
    const { desk, direct, token } = world
    const proxy = await Effect.runPromise(Scope.provide(plainProxy(targetOf(desk.url.realtime)), scope))
    const urls = { commands: desk.url.command, queries: desk.url.query, realtime: proxy.url, files: desk.url.file }
    const client = createClient({ urls, token: () => token })
    const ticketId = await openTicket(direct)
    await conversationOf(direct, ticketId, 1)
    const feed = watch(client, ticketId, "snapshot")
    await until("a stream is open", async () => (proxy.led() > 0 ? true : null))
    // What is said while its snapshot is being made is in the snapshot, and no change.
    await until("it is live", async () => (feed.items.some((item) => item.type === "state") ? true : null))
    const said = Array.from({ length: 12 }, (_, index) => `word ${index}`)
    for (const [index, body] of said.entries()) {
      expect((await direct.commands.ReplyToTicket({ ticketId, body })).status).toBe("accepted")
      if (index % 4 === 2) await until(`${body} came`, async () => (feed.bodies().includes(body) ? true : null))
      if (index % 4 === 3) proxy.cut()
    }
    await until("all came", async () => (feed.bodies().includes("word 11") ? true : null))
    feed.stop()
    client.close()
    expect(feed.bodies()).toEqual(said)
    expect(proxy.refused()).toBeGreaterThanOrEqual(Feeds.socketsBrokenMax)
  })

  it("that never could begin ends with the reason", async () => {
    const watched = watch(world.client, "not an id", "now")
    await until("it has ended", async () => (watched.items.some(({ type }) => type === "ended") ? true : null))
    expect(watched.items.at(-1)).toMatchObject({ type: "ended", code: "BAD_USER_INPUT" })
  })
})

describe("an upload", () => {
  it("resumes after every cut, sends no more than a chunk again, and is attached once by the outbox", async () => {
    const { client, direct, lines } = world
    const ticketId = await openTicket(direct)
    const opened = await openOutbox(client, memoryStore())
    if (opened.status !== "opened") throw opened.error
    const { outbox } = opened
    const bytes = new Uint8Array(1024 * 1024).map((_, at) => 32 + (at % 64))
    await put(lines.file, { _tag: "CutAfter", bytes: 200 * 1024, direction: "toServer" })
    const upload = outbox.upload(bytes, { name: "scan.txt", type: "text/plain", attachTo: { ticketId } })
    await until("it was cut twice", async () => (upload.progress.cuts >= 2 ? true : null))
    await put(lines.file, pass)
    const outcome = await upload.outcome
    expect(outcome).toMatchObject({ status: "uploaded", attached: { status: "kept" } })
    expect(upload.progress.resentBytes).toBeLessThanOrEqual(upload.progress.cuts * 256 * 1024)
    if (outcome.status !== "uploaded" || outcome.attached?.status !== "kept") throw new Error(outcome.status)
    const attached = await outcome.attached.outcome
    if (attached.status !== "accepted") throw new Error(attached.status)
    await outbox.close()
    const released = await until("it is released", async () => {
      const file = await direct.queries.file(outcome.fileId)
      return file.status === "answered" && file.data?.downloadUrl != null ? file.data.downloadUrl : null
    })
    const downloaded = new Uint8Array(await (await fetch(released)).arrayBuffer())
    expect(Buffer.compare(downloaded, bytes)).toBe(0)
    const ticket = await until("the ticket is read from the read database", () =>
      live(direct.queries.ticket(ticketId, { atLeastVersion: attached.version }))
    )
    expect(ticket.data?.attachments.map(({ fileId }) => fileId)).toEqual([outcome.fileId])
  })

  it("pauses, resumes, and can be given up", async () => {
    const bytes = new Uint8Array(3 * 1024 * 1024)
    const upload = world.client.upload(bytes, { name: "zeroes.bin" })
    upload.pause()
    expect(upload.progress.state).toBe("paused")
    upload.resume()
    expect((await upload.outcome).status).toBe("uploaded")
    const given = world.client.upload(bytes, { name: "zeroes.bin" })
    given.abort()
    expect(await given.outcome).toEqual({ status: "aborted" })
  })

  it("that the desk does not take is refused with the reason", async () => {
    const outcome = await world.client.upload(new Uint8Array(10), { name: "turns \u202e round" }).outcome
    expect(outcome).toMatchObject({ status: "refused", problem: { _tag: "ValidationFailed", httpStatus: 400 } })
  })
})

const outboxProgram = join(import.meta.dirname, "Outbox.fixture.ts")

const children: Array<ChildProcess> = []
afterAll(() => {
  for (const child of children) child.kill("SIGKILL")
})

/** A child's lines as they come. */
const childLines = (mode: string, args: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, [outboxProgram, mode, ...args], { stdio: ["ignore", "pipe", "inherit"] })
  children.push(child)
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return { child, lines }
}

const outboxOutlivesItsProcess = async () => {
  const { desk, direct, token } = world
  const folder = await mkdtemp(join(tmpdir(), "holdfast-outbox-"))
  const ticketId = await openTicket(direct)
  const args = [folder, desk.url.command, token, ticketId]
  const kept: Array<string> = []
  for (const [run, many] of [1, 4, 17].entries()) {
    const { child, lines } = childLines("keep", [...args, `run ${run}`])
    for (let seen = 0; seen < many; seen++) kept.push(String((await lines.next()).value))
    child.kill("SIGKILL")
    // What was said before the end counts as kept too.
    for (let line = await lines.next(); line.done !== true; line = await lines.next()) kept.push(line.value)
  }
  const { child, lines } = childLines("drain", args)
  expect((await lines.next()).value).toBe("drained")
  await once(child, "exit")
  const ids = (await conversationOf(direct, ticketId, kept.length + 1)).map(({ id }) => id).slice(1)
  expect(new Set(ids).size).toBe(ids.length)
  // A note may have been kept and its line not said: those are the only others.
  expect(ids.filter((id) => kept.includes(id))).toEqual(kept)
  await rm(folder, { recursive: true })
}

// Each child loads the client anew: seconds on a busy machine.
it(
  "an outbox in a folder loses nothing to kill -9 at any moment, does nothing twice, and keeps the order",
  outboxOutlivesItsProcess,
  180_000
)
