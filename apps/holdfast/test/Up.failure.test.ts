// `holdfast up` as a person meets it: a real desk with its own PostgreSQL, its processes killed and stopped, started twice, started again,
// and its supervisor killed. Nothing may be left behind.
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { processesBelow, signalOne } from "@holdfast/database/embedded/ProcessTree"
import { Effect } from "effect"
import { afterAll, assert, describe, it } from "vitest"
import { askStates, controlPath } from "../src/supervisor/Control.ts"
import {
  deskEnvironment,
  type Environment,
  holdfast,
  type Invocation,
  isThere,
  type Ready,
  startDesk,
  until
} from "./RunningDesk.ts"

const folder = mkdtempSync(join(tmpdir(), "holdfast-up-"))
const started: Array<Invocation> = []

afterAll(async () => {
  for (const desk of started) {
    if (desk.child.exitCode === null && desk.child.signalCode === null) desk.child.kill("SIGTERM")
    await desk.ended
  }
  rmSync(folder, { recursive: true, force: true })
})

const start = async (environment: Environment) => {
  const desk = await startDesk(environment)
  started.push(desk)
  return desk
}

const states = () => Effect.runPromise(askStates(controlPath(join(folder, "run"))))
const stateOf = async (name: string) => (await states()).find((state) => state.name === name)

const urlOf = (ready: Ready, name: string) => ready.addresses.find((address) => address.name === name)?.url ?? ""

const openTicket = (ready: Ready, ticketId: string) =>
  fetch(`${urlOf(ready, "command-api")}/v1/tickets`, {
    method: "POST",
    headers: {
      ...{ "content-type": "application/json", "idempotency-key": ticketId },
      authorization: `Bearer ${ready.adminToken}`
    },
    body: JSON.stringify({ subject: "The door is stuck", body: "Since Monday." })
  })

const findTicket = async (ready: Ready, ticketId: string): Promise<boolean> => {
  const response = await fetch(`${urlOf(ready, "query-api")}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${ready.adminToken}` },
    body: JSON.stringify({ query: "query ($id: ID!) { ticket(id: $id) { id } }", variables: { id: ticketId } })
  })
  return (await response.text()).includes(`"id":"${ticketId}"`)
}

const allGone = (pids: ReadonlyArray<number>) => until(() => !pids.some(isThere))

const ticketId = randomUUID()

describe("holdfast up", { timeout: 240_000 }, () => {
  let environment: Environment = {}

  it("brings a desk that takes and shows tickets", async () => {
    environment = await deskEnvironment(folder)
    const { ready } = await start(environment)
    const response = await openTicket(ready, ticketId)
    assert.strictEqual(response.status, 200)
    await until(() => findTicket(ready, ticketId))
    const phases = new Set((await states()).map(({ phase }) => phase))
    assert.deepStrictEqual([...phases], ["ready"])
  })

  it("is refused beside a running one, with what runs where", async () => {
    const second = await holdfast(environment, "up").ended
    assert.strictEqual(second.code, 3)
    assert.include(second.stderr, `process ${started[0]?.pid}`)
    assert.include(second.stderr, `:${environment.HOLDFAST_COMMAND_PORT}`)
  })

  it("starts a killed process again", async () => {
    const before = await stateOf("query-api")
    signalOne(before?.pid ?? 0, "SIGKILL")
    await until(async () => {
      const now = await stateOf("query-api")
      return now?.phase === "ready" && now.pid !== before?.pid
    })
  })

  it("starts PostgreSQL again, and the desk writes as before", async () => {
    const before = await stateOf("postgresql")
    signalOne(before?.pid ?? 0, "SIGKILL")
    const ready: Ready = JSON.parse((await started[0]?.firstLine) ?? "")
    // Its children live on for a moment and may still take a write.
    await until(async () => ![before?.pid, null].includes((await stateOf("postgresql"))?.pid))
    await until(async () => (await openTicket(ready, randomUUID())).status === 200)
  })

  it("restarts a process that has one copy with no refused request", async () => {
    const ready: Ready = JSON.parse((await started[0]?.firstLine) ?? "")
    const before = await stateOf("command-api")
    let isOver = false
    const asking = (async () => {
      const answers: Array<number> = []
      while (!isOver) answers.push((await openTicket(ready, randomUUID())).status)
      return answers
    })()
    const restarted = await holdfast(environment, "restart", "command-api").ended
    isOver = true
    assert.deepStrictEqual([...new Set(await asking)], [200])
    assert.strictEqual(restarted.code, 0)
    assert.include(restarted.stdout, "command-api: replaced")
    const after = await stateOf("command-api")
    assert.deepStrictEqual([after?.phase, after?.restarts], ["ready", before?.restarts])
    assert.notStrictEqual(after?.pid, before?.pid)
  })

  it("says which processes can be restarted", async () => {
    const { code, stderr } = await holdfast(environment, "restart", "command-apt").ended
    assert.strictEqual(code, 1)
    assert.include(stderr, "command-api, query-api")
  })

  it("answers `status` for every process", async () => {
    await until(async () => (await holdfast(environment, "status", "--json").ended).code === 0)
  })

  it("leaves nothing behind on Ctrl-C, also when processes hang", async () => {
    const desk = started[0]
    const pids = processesBelow(desk?.pid ?? 0)
    assert.isAtLeast(pids.length, 7)
    for (const name of ["command-api", "event-worker"]) signalOne((await stateOf(name))?.pid ?? 0, "SIGSTOP")
    desk?.child.kill("SIGINT")
    assert.strictEqual((await desk?.ended)?.code, 0)
    assert.deepStrictEqual(pids.filter(isThere), [])
  })

  it("finds its data again, and copes with the end of a supervisor that was killed", async () => {
    const second = await start(environment)
    await until(() => findTicket(second.ready, ticketId))
    const pids = processesBelow(second.pid)
    second.child.kill("SIGKILL")
    await second.ended
    await allGone(pids)
    const third = await start(environment)
    await until(() => findTicket(third.ready, ticketId))
  })

  it("is over at once on a second Ctrl-C", async () => {
    const desk = started.at(-1)
    const pids = processesBelow(desk?.pid ?? 0)
    signalOne((await stateOf("file-worker"))?.pid ?? 0, "SIGSTOP")
    desk?.child.kill("SIGINT")
    // Until one counts as the second: which does is for the supervisor's clock to say.
    const pressing = setInterval(() => desk?.child.kill("SIGINT"), 300)
    const ended = await desk?.ended
    clearInterval(pressing)
    assert.strictEqual(ended?.code, 130)
    await allGone(pids)
  })
})

describe("a start that cannot work", { timeout: 120_000 }, () => {
  it("says which port is taken, by whom, and what to set", async () => {
    const environment = await deskEnvironment(join(folder, "ports"))
    const taken = createServer().listen(Number(environment.HOLDFAST_QUERY_PORT), "127.0.0.1")
    await once(taken, "listening")
    const { code, stderr } = await holdfast(environment, "up").ended
    taken.close()
    assert.strictEqual(code, 1)
    assert.match(stderr, /taken by .*\(process \d+\).*HOLDFAST_QUERY_PORT/)
  })

  it("says which URL is wrong without showing it", async () => {
    const wrong = { HOLDFAST_DATABASE_URL: "mysql://root:secret@localhost/x" }
    const { code, stderr } = await holdfast({ ...(await deskEnvironment(join(folder, "url"))), ...wrong }, "up").ended
    assert.strictEqual(code, 1)
    assert.include(stderr, "HOLDFAST_DATABASE_URL")
    assert.notInclude(stderr, "secret")
  })

  it("says that the database does not answer, and where it was looked for", async () => {
    const away = { HOLDFAST_DATABASE_URL: "postgres://desk:secret@127.0.0.1:9/desk" }
    const { code, stderr } = await holdfast({ ...(await deskEnvironment(join(folder, "away"))), ...away }, "up").ended
    assert.strictEqual(code, 1)
    assert.include(stderr, "127.0.0.1:9/desk")
    assert.notInclude(stderr, "secret")
  })

  it("says that its data folder is not a folder", async () => {
    const file = join(folder, "file")
    writeFileSync(file, "")
    const { code, stderr } = await holdfast(await deskEnvironment(file), "up").ended
    assert.strictEqual(code, 1)
    assert.include(stderr, "is not a folder")
  })
})
