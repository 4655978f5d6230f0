// A whole desk on two small disks: one for the files, one for PostgreSQL, the cache and everything else. Each is filled, PostgreSQL's flushes
// fail, and at last the people who use it are put behind a bad line. What is on the other disk does not notice; what is on this one says so, keeps
// what it acknowledged, and goes on by itself.
import { randomBytes, randomUUIDv7 } from "node:crypto"
import { mkdir, readFile, symlink } from "node:fs/promises"
import { join } from "node:path"
import { failCalls } from "@holdfast/testkit/FailingCalls"
import { targetOf } from "@holdfast/testkit/Faults"
import { type Link, makeLink } from "@holdfast/testkit/Link"
import { makeSmallDisk, type SmallDisk } from "@holdfast/testkit/SmallDisk"
import { Effect, Exit, Scope } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type Answer, command, downloaded, type FeedEvent, feedUntil, query, until, upload } from "../flows/Clients.ts"
import { type Desk, startDesk } from "../flows/Desk.ts"

const mebibyte = 1024 * 1024
const text = (bytes: number) => Buffer.from(randomBytes(bytes / 2).toString("hex"))
const note = { filename: "note.txt", filetype: "text/plain" }

interface Truth {
  readonly ticket: { readonly id: string } | null
}

interface FileState {
  readonly file: { readonly state: string; readonly downloadUrl: string | null } | null
}

describe("a desk on small disks", () => {
  const scope = Scope.makeUnsafe()
  const scoped = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Scope.provide(effect, scope))
  let own: SmallDisk
  let files: SmallDisk
  let desk: Desk
  let agent: string
  let acknowledged: ReadonlyArray<string> = []

  const openTicket = async (at: Desk = desk, commandId = randomUUIDv7(), body = "It happened again.") => {
    const answer = await command(at, agent, "/v1/tickets", { subject: "A small disk", body }, commandId)
    if (answer.status === 200 && !acknowledged.includes(commandId)) acknowledged = [...acknowledged, commandId]
    return answer
  }
  const isKnown = async (id: string): Promise<boolean> =>
    (await query<Truth>(desk, agent, "query($id: ID!) { ticket(id: $id) { id } }", { id })).data.ticket !== null
  const allKnown = () =>
    until("each acknowledged ticket is there", async () => {
      for (const id of acknowledged) if (!(await isKnown(id))) return null
      return true
    })
  const stateOf = async (id: string) =>
    (await query<FileState>(desk, agent, "query($id: ID!) { file(id: $id) { state downloadUrl } }", { id })).data.file
  /** It has room again, whatever comes of the work. */
  const whileFull = async <A>(disk: SmallDisk, leaveBytes: number, work: () => Promise<A>): Promise<A> => {
    try {
      await Effect.runPromise(disk.fill(leaveBytes))
      return await work()
    } finally {
      await Effect.runPromise(disk.free)
    }
  }
  const reaches = (id: string, state: string) =>
    until(`file ${id} is ${state}`, async () => {
      const file = await stateOf(id)
      return file?.state === state ? file : null
    })

  beforeAll(async () => {
    own = await scoped(makeSmallDisk(480 * mebibyte))
    files = await scoped(makeSmallDisk(24 * mebibyte))
    const dataDir = join(own.path, "desk")
    await mkdir(dataDir)
    await symlink(files.path, join(dataDir, "files"))
    desk = await startDesk("embedded", { environment: { HOLDFAST_DATA_DIR: dataDir, HOLDFAST_DISK_RESERVE_MIB: "0" } })
    agent = await desk.token("agent", "ada", "Ada Agent")
  }, 180_000)
  afterAll(async () => {
    const code = await desk?.stop()
    await Effect.runPromise(Scope.close(scope, Exit.void))
    expect(code).toBe(0)
  }, 120_000)

  it("whose files find no room refuses uploads, lets the pipeline wait, and does everything else", async () => {
    const early = await upload(desk, agent, text(1000), note)
    const { downloadUrl } = await reaches(early, "released")
    const waiting = await whileFull(files, 3 * mebibyte, async () => {
      // There is room for the upload, and none for the copy that its release makes.
      const id = await upload(desk, agent, text(2 * mebibyte), note)
      await reaches(id, "converted")
      await expect(upload(desk, agent, text(2 * mebibyte), note)).rejects.toThrow(/507/)
      expect(await openTicket()).toMatchObject({ status: 200 })
      await allKnown()
      expect((await downloaded(downloadUrl)).bytes).toHaveLength(1000)
      expect((await stateOf(id))?.state).toBe("converted")
      return id
    })
    await reaches(waiting, "released")
    await reaches(await upload(desk, agent, text(2 * mebibyte), note), "released")
  }, 180_000)

  it("whose database finds no room refuses writes, answers reads, and goes on once there is room", async () => {
    expect(await openTicket()).toMatchObject({ status: 200 })
    // Its view is made after its acknowledgement, and only what has a view can be read while there is no room for another.
    await allKnown()
    await whileFull(own, 0, async () => {
      const refused = await until("a write is refused", async () => {
        const answer = await openTicket(desk, randomUUIDv7(), text(20_000).toString())
        return answer.status === 200 ? null : answer
      })
      expect(refused).toMatchObject({
        status: 503,
        body: { type: expect.stringMatching(/WriteUnavailable|OutcomeUnknown/) }
      })
      // Only the first: the cache is on that disk, too, and may have got no copy of the newest.
      const [first = "none"] = acknowledged
      expect(await isKnown(first)).toBe(true)
    })
    await until("a write is accepted", async () => ((await openTicket()).status === 200 ? true : null))
    await allKnown()
  }, 180_000)

  it("whose database cannot flush says no, recovers, and did once what it was asked twice", async () => {
    let commandId = randomUUIDv7()
    const first = await Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const pids = yield* Effect.promise(() => backends(desk.dataDir))
          yield* failCalls({ pids, fault: { _tag: "Fails", errno: "EIO" } })
          return yield* Effect.promise(() =>
            until("a write is refused", async () => {
              // Under an id of its own: a process of the server that was started since may accept one, whose repetitions it then accepts, too.
              commandId = randomUUIDv7()
              const answer = await openTicket(desk, commandId)
              return answer.status === 200 ? null : answer
            })
          )
        })
      )
    )
    expect(first).toMatchObject({ status: 503 })
    const again = await until("the command is accepted", async () => accepted(await openTicket(desk, commandId)))
    expect(again.body).toMatchObject({ streamId: commandId, version: 1 })
    await allKnown()
  }, 180_000)

  it("is used over a bad line: commands once, the feed exact, the upload whole", async () => {
    const link = await scoped(makeLink({ seed: 20, profile: badLine }))
    const far = await behind(link, desk, scoped)
    const ticketId = randomUUIDv7()
    await until("the ticket is opened", () => tried(() => openTicket(far, ticketId)))
    const replies = Array.from({ length: 4 }, () => randomUUIDv7())
    const path = `/v1/tickets/${ticketId}/replies`
    const uploading = upload(far, agent, text(128 * 1024), note)
    const seen: Array<FeedEvent> = []
    for (const [index, commandId] of replies.entries()) {
      await until("the reply is accepted", () =>
        tried(() => command(far, agent, path, { body: `${index}` }, commandId))
      )
      if (index === 1) await cutAndHeal(link, far)
      // As a page that lost its line: it comes back with the last position that it saw.
      const after = seen.at(-1)?.position ?? 0
      const events = await feedUntil(
        far,
        agent,
        { id: ticketId, after },
        index === 0 ? "TicketOpened" : "TicketReplied"
      )
      seen.push(...events)
    }
    const versions = seen.map(({ streamVersion }) => streamVersion)
    expect(versions).toEqual(versions.map((_, index) => index + 1))
    await reaches(await uploading, "released")
    const { inward, outward } = await Effect.runPromise(link.statistics)
    expect(inward.lost + outward.lost).toBeGreaterThan(0)
  }, 180_000)
})

const accepted = (answer: Answer) => (answer.status === 200 ? answer : null)

/** The processes of the server that hold its files, but for the one that starts them anew. */
const backends = async (dataDir: string): Promise<ReadonlyArray<number>> => {
  const [postmaster] = (await readFile(join(dataDir, "postgres", "data", "postmaster.pid"), "utf8")).split("\n")
  const children = await readFile(`/proc/${postmaster}/task/${postmaster}/children`, "utf8")
  return children.trim().split(" ").map(Number)
}

const badLine = { delayMs: 30, jitterMs: 15, loss: 0.02, duplicate: 0.01, reorder: 0.01, bitsPerSecond: 2_000_000 }

/** The desk as it is reached from the other side. */
const behind = async (
  link: Link,
  desk: Desk,
  scoped: <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Promise<A>
): Promise<Desk> => {
  const over = async (url: string) => {
    const { host, port } = await scoped(link.publish(targetOf(url)))
    const led = new URL(url)
    led.host = `${host}:${port}`
    return led.href.replace(/\/$/, "")
  }
  const { command, file, query, realtime } = desk.url
  const url = {
    command: await over(command),
    query: await over(query),
    realtime: await over(realtime),
    file: await over(file)
  }
  return { ...desk, url }
}

/** A line that broke is no answer; the same command is sent again. */
const tried = (send: () => Promise<Answer>): Promise<Answer | null> => send().then(accepted, () => null)

const cutAndHeal = async (link: Link, far: Desk): Promise<void> => {
  await Effect.runPromise(link.cut)
  // Something to swallow, should nothing else be under way.
  const asking = fetch(far.url.query)
    .then((answer) => answer.text())
    .catch(() => null)
  await until("the line swallows something", async () => {
    const { inward, outward } = await Effect.runPromise(link.statistics)
    return inward.cut + outward.cut > 0 ? true : null
  })
  await Effect.runPromise(link.heal)
  await asking
}
