// The desk's own processes, two copies of each: replaced one by one under load with nobody noticing, killed with -9 in every combination and
// hung with nothing lost, and not replaced by what does not start. Only counts are asserted; how long the relay's leadership took to move
// is told. A failure prints its seed; HOLDFAST_SEED runs it again.
import { spawn } from "node:child_process"
import { createHash, randomUUIDv7 } from "node:crypto"
import { readdir, readFile, readlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { statements } from "@holdfast/migrations/Statements"
import { pendingSteps, runSteps, type Steps } from "@holdfast/migrations/Steps"
import { Effect, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest"
import { askStates, controlPath } from "../../apps/holdfast/src/supervisor/Control.ts"
import { query, until, upload } from "../flows/Clients.ts"
import { type Desk, root, startDesk } from "../flows/Desk.ts"
import { follow, keepDoing, openPatiently, openTicket, type People, plainWork, reply } from "./ProcessLoad.ts"

const seed = Number(process.env.HOLDFAST_SEED ?? Math.floor(Math.random() * 2 ** 31))

/** A number from 0 to below `count`, the same for the same seed and place. */
const draw = (place: string, count: number): number =>
  createHash("sha256").update(`${seed}:${place}`).digest().readUInt32BE() % count

describe(`the desk with two copies of each process (seed ${seed})`, { timeout: 600_000 }, () => {
  let desk: Desk
  let people: People
  let environment: NodeJS.ProcessEnv
  const ticketId = randomUUIDv7()

  beforeAll(async () => {
    desk = await startDesk("embedded", { environment: { HOLDFAST_COPIES: "2" } })
    environment = { PATH: process.env.PATH, HOLDFAST_DATA_DIR: desk.dataDir }
    people = { customer: await desk.token("customer", "lena"), agent: await desk.token("agent", "sam") }
    expect((await openTicket(desk, people.customer, ticketId)).status).toBe(200)
  }, 180_000)
  afterAll(() => desk?.stop())

  const holdfast = async (...args: ReadonlyArray<string>) => {
    const child = spawn(process.execPath, [join(root, "apps/holdfast/src/main.ts"), ...args], {
      env: environment,
      stdio: ["ignore", "pipe", "pipe"]
    })
    const [stdout, stderr] = await Promise.all([
      new Response(ReadableStream.from(child.stdout)).text(),
      new Response(ReadableStream.from(child.stderr)).text()
    ])
    const code = child.exitCode ?? (await new Promise<number | null>((resolve) => child.once("exit", resolve)))
    return { code, stdout, stderr }
  }
  const copies = async () =>
    (await Effect.runPromise(askStates(controlPath(join(desk.dataDir, "run"))))).flatMap(({ pid, ...state }) =>
      state.name === "postgresql" || pid === null ? [] : [{ ...state, pid }]
    )
  const allReady = () =>
    until("every copy is ready", async () => {
      const all = await copies()
      return all.length === 12 && all.every(({ phase }) => phase === "ready") ? all : null
    })
  const onDatabase = async <A, E>(work: Effect.Effect<A, E, SqlClient.SqlClient>): Promise<A> => {
    const { postgresPort } = JSON.parse(await readFile(join(desk.dataDir, "run/desk.json"), "utf8"))
    const password = (await readFile(join(desk.dataDir, "keys/postgres.password"), "utf8")).trim()
    const url = Redacted.make(`postgres://holdfast:${password}@127.0.0.1:${postgresPort}/holdfast`)
    return Effect.runPromise(Effect.provide(work, ClientPostgres.layer({ url, applicationName: "a test" })))
  }
  const sql = <A extends object>(text: string): Promise<ReadonlyArray<A>> =>
    onDatabase(SqlClient.SqlClient.use((sql) => sql.unsafe<A>(text)))
  const released = async (): Promise<string> => {
    const bytes = Buffer.from("the plan of the lift, floor by floor\n".repeat(200))
    const id = await upload(desk, people.customer, bytes, { filename: "plan.txt", filetype: "text/plain", ticketId })
    return until("the file is released", async () => {
      const { data } = await query<{ file: { downloadUrl: string | null } | null }>(
        desk,
        people.agent,
        "query($id: ID!) { file(id: $id) { downloadUrl } }",
        { id }
      )
      return data.file?.downloadUrl ?? null
    })
  }
  const highest = async () =>
    (await sql<{ version: number }>(`SELECT version FROM core.aggregate WHERE stream_id = '${ticketId}'`))[0]
      ?.version ?? 0

  // They end with the test, however it ends: the next one has its own.
  const following = () => {
    const feed = follow(desk, people.agent, ticketId, 0)
    onTestFinished(feed.stop)
    return feed
  }
  const doing = (work: Parameters<typeof keepDoing>[0]) => {
    const stop = keepDoing(work)
    onTestFinished(async () => void (await stop()))
    return stop
  }

  it("replaces all of them under load with no failed request and no gap in a subscription", async () => {
    const downloadUrl = await released()
    const before = await allReady()
    const feed = following()
    const stop = doing(plainWork(desk, people, ticketId, downloadUrl))
    const restarted = await holdfast("restart")
    const { done, failed } = await stop()
    expect(restarted, restarted.stderr).toMatchObject({ code: 0 })
    expect(failed).toEqual([])
    expect([...done.keys()].toSorted()).toEqual(["download", "gRPC", "open a ticket", "query", "reply", "upload"])
    const after = await allReady()
    const stayed = after.filter((one) => before.some(({ pid }) => pid === one.pid))
    expect(stayed.map(({ name }) => name)).toEqual([])
    expect(after.map(({ restarts }) => restarts)).toEqual(after.map(() => 0))
    const last = await highest()
    await until("the feed has caught up", async () => (feed.followed.versions.at(-1) === last ? true : null))
    await feed.stop()
    expect(feed.followed.versions).toEqual(Array.from({ length: last }, (_, index) => index + 1))
    expect(feed.followed.refused).toBe(0)
    expect(feed.followed.resumed).toBeGreaterThan(0)
  })

  it("takes the migration of a later release under load with no failed request and no gap in a subscription", async () => {
    const downloadUrl = await released()
    const feed = following()
    const stop = doing(plainWork(desk, people, ticketId, downloadUrl))
    expect(await onDatabase(runSteps("core", later))).toEqual(["0999_later", "later_types"])
    const { failed } = await stop()
    expect(failed).toEqual([])
    // What this release needs is not taken away from under it.
    expect(await onDatabase(pendingSteps("core", later))).toMatchObject([
      { name: "drop_type", waitsFor: expect.stringContaining("older release") }
    ])
    const last = await highest()
    await until("the feed has caught up", async () => (feed.followed.versions.at(-1) === last ? true : null))
    await feed.stop()
    expect(feed.followed.versions).toEqual(Array.from({ length: last }, (_, index) => index + 1))
    expect(feed.followed.resumed).toBe(1)
  })

  it("goes on with the former copies when a successor does not start, and says why", async () => {
    const file = join(desk.dataDir, "rules.json")
    const rules = (await readFile(file, "utf8").catch(() => null)) ?? "[]"
    const before = await copies()
    await writeFile(file, "not rules")
    const refused = await holdfast("restart", "event-worker").finally(() => writeFile(file, rules))
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain("HOLDFAST_RULES")
    expect((await allReady()).map(({ pid }) => pid)).toEqual(before.map(({ pid }) => pid))
  })

  it("loses nothing and does nothing twice when copies are killed and hung in any combination", async () => {
    const acknowledged: Array<string> = []
    const feed = following()
    const patient = async () => {
      const id = randomUUIDv7()
      await openPatiently(desk, people.customer, id)
      acknowledged.push(id)
    }
    const replyPatiently = async () => {
      const id = randomUUIDv7()
      await until("the reply is acknowledged", async () => {
        const response = await reply(desk, people.customer, ticketId, id, AbortSignal.timeout(3_000)).catch(() => null)
        await response?.body?.cancel()
        return response?.status === 200 ? true : null
      })
    }
    const stop = doing({ a: patient, b: patient, c: patient, reply: replyPatiently })
    const all = await allReady()
    const hung = all[draw("hung", all.length)]
    if (hung === undefined) throw new Error("there is no copy to hang")
    process.kill(hung.pid, "SIGSTOP")
    const killed = new Set<string>()
    for (let round = 0; round < 3; round++) {
      const now = (await copies()).filter(({ name }) => name !== hung.name)
      const victims = now.filter(({ name }) => draw(`round ${round} ${name}`, 2) === 0)
      for (const { name, pid } of victims) if (kill(pid)) killed.add(name)
      await until(`round ${round} is over`, async () => {
        const back = (await copies()).filter(({ name }) => name !== hung.name)
        const gone = new Set(victims.map(({ pid }) => pid))
        return back.length === 11 && back.every(({ phase, pid }) => phase === "ready" && !gone.has(pid)) ? true : null
      })
    }
    await until("the hung copy was noticed and replaced", async () => {
      const now = (await copies()).find(({ name }) => name === hung.name)
      return now !== undefined && now.pid !== hung.pid && now.phase === "ready" ? now : null
    })
    const after = await allReady()
    const { failed } = await stop()
    expect(failed).toEqual([])
    for (const { name, restarts } of after) if (killed.has(name)) expect(restarts, name).toBeGreaterThan(0)
    expect(acknowledged.length).toBeGreaterThan(0)
    const last = await highest()
    await until("the feed has caught up", async () => (feed.followed.versions.at(-1) === last ? true : null))
    await feed.stop()
    expect(feed.followed.versions).toEqual(Array.from({ length: last }, (_, index) => index + 1))
    await expectNothingLost(acknowledged)
  })

  it("moves the relay to the other copy when its leader is killed", async () => {
    const leader = await leadingCopy()
    const begun = performance.now()
    process.kill(leader.pid, "SIGKILL")
    const next = await until("another copy leads", async () => {
      const now = await backendOfLeader()
      return now !== null && now !== leader.backend ? now : null
    })
    console.log(`the relay's leadership moved in ${Math.round(performance.now() - begun)} ms`)
    expect(next).not.toBe(leader.backend)
    const id = randomUUIDv7()
    await openPatiently(desk, people.customer, id)
    await expectNothingLost([id])
    await allReady()
  })

  const kill = (pid: number): boolean => {
    try {
      return process.kill(pid, "SIGKILL")
    } catch {
      return false
    }
  }

  /** The database's own number for the session that holds the relay's lock. */
  const backendOfLeader = async (): Promise<number | null> => {
    const rows = await sql<{ pid: number }>(
      "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = hashtext('holdfast.lead')::bigint::bit(32)::bigint AND objid = hashtext('relay')::bigint::bit(32)::bigint"
    )
    return rows[0]?.pid ?? null
  }

  /** Found by the near end of its connection. */
  const leadingCopy = async () => {
    const backend = await until("somebody leads", backendOfLeader)
    const [row] = await sql<{ port: number }>(`SELECT client_port AS port FROM pg_stat_activity WHERE pid = ${backend}`)
    const inode = inodeOfPort(await readFile("/proc/net/tcp", "utf8"), row?.port ?? 0)
    for (const copy of (await copies()).filter(({ name }) => name.startsWith("event-worker"))) {
      if (await holds(copy.pid, inode)) return { ...copy, backend }
    }
    throw new Error("no copy holds the connection of the leader")
  }

  const expectNothingLost = async (acknowledged: ReadonlyArray<string>) => {
    const ids = acknowledged.map((id) => `'${id}'`).join(",")
    const opened = await sql<{ id: string; count: number }>(
      `SELECT stream_id AS id, count(*)::int AS count FROM core.event_log WHERE type = 'TicketOpened' AND stream_id IN (${ids}) GROUP BY 1`
    )
    expect(opened.map(({ id }) => id).toSorted()).toEqual([...acknowledged].toSorted())
    expect(new Set(opened.map(({ count }) => count))).toEqual(new Set([1]))
    await until("every event has its position and is in the views", async () => {
      const [state] = await sql<{ waiting: number; last: number; views: number }>(
        `SELECT (SELECT count(*)::int FROM core.event_log WHERE position IS NULL) AS waiting,
           (SELECT max(position)::int FROM core.event_log) AS last,
           (SELECT position::int FROM read.projection_state WHERE group_name = 'views') AS views`
      )
      return state !== undefined && state.waiting === 0 && state.views === state.last ? state : null
    })
    const [gaps] = await sql<{ count: number; last: number; present: number; parked: number }>(
      `SELECT count(*)::int AS count, max(position)::int AS last,
         (SELECT count(*)::int FROM read.ticket WHERE id IN (${ids})) AS present,
         (SELECT count(*)::int FROM core.parked_event) AS parked FROM core.event_log`
    )
    expect(gaps?.count).toBe(gaps?.last)
    expect(gaps?.present).toBe(acknowledged.length)
    expect(gaps?.parked).toBe(0)
  }
})

/** What some later release might want of the busiest tables: a column that is written for every event, filled for the old ones. */
const later: Steps = {
  expand: {
    "0999_later": statements([
      "ALTER TABLE core.event_log ADD COLUMN later_type text",
      "ALTER TABLE core.aggregate ADD COLUMN later_flag boolean NOT NULL DEFAULT false"
    ])
  },
  backfill: [
    {
      name: "later_types",
      batch: SqlClient.SqlClient.use(
        (sql) => sql`UPDATE core.event_log SET later_type = type WHERE seq IN
          (SELECT seq FROM core.event_log WHERE later_type IS NULL AND seq <= 200 ORDER BY seq LIMIT 50)
          RETURNING seq`
      ).pipe(Effect.map((rows) => rows.length))
    }
  ],
  contract: [{ name: "drop_type", release: 999, work: statements(["ALTER TABLE core.event_log DROP COLUMN type"]) }]
}

const inodeOfPort = (table: string, port: number): string => {
  const near = `:${port.toString(16).toUpperCase().padStart(4, "0")}`
  const fields = table.split("\n").map((line) => line.trim().split(/\s+/))
  return fields.find((field) => field[1]?.endsWith(near) && field[3] === "01")?.[9] ?? "none"
}

const holds = async (pid: number, inode: string): Promise<boolean> => {
  const links = await Promise.all(
    (await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => ""))
  )
  return links.includes(`socket:[${inode}]`)
}
