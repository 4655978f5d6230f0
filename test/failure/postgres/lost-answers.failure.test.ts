// Forced lost answers, against the command process over HTTP: the append's answer is lost after the server did the work, torn in its
// middle, the append never gets there, or the answer of the desk itself is lost on its way to the client. Each client repeats under the
// same commandId and learns the truth: no effect is missing and none is there twice. HOLDFAST_LOST_ANSWERS says how many.
import { type ChildProcess, spawn } from "node:child_process"
import { randomUUIDv7 } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { createKeySet, issueToken } from "@holdfast/identity/Tokens"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { freshPort } from "@holdfast/testkit/TestServers"
import { Duration, Effect, Exit, Redacted, Scope } from "effect"
import { afterAll, beforeAll, expect, it } from "vitest"
import { type ForgetfulEdge, forgetfulEdge } from "./ForgetfulEdge.ts"
import { fates, type LosingLine, losingLine } from "./LosingLine.ts"
import { type Truth, truthAt } from "./Truth.ts"

const count = Number(process.env.HOLDFAST_LOST_ANSWERS ?? "300")
const hookDeadlineMs = 300_000
/** Most of their time they wait, as they were told to. */
const clientsCount = Math.min(120, Math.ceil(count / 6))
/** Below the budget of a principal, however fast the machine is. */
const commandsPerPrincipalMax = 300
const main = join(import.meta.dirname, "../../../apps/command-api/src/main.ts")
const kinds = [...fates, "desk's answer lost"] as const
type Kind = (typeof kinds)[number]

interface Line {
  readonly losing: LosingLine
  readonly edge: ForgetfulEdge
  readonly truth: Truth
  readonly folder: string
  readonly child: ChildProcess
  readonly output: () => string
}

const scope = Scope.makeUnsafe()
const scoped = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Scope.provide(effect, scope))
let line: Line

beforeAll(async () => {
  const url = Redacted.value(await scoped(migratedDatabase))
  const losing = await losingLine(Number(new URL(url).port))
  const through = new URL(url)
  through.port = String(losing.port)
  const folder = await mkdtemp(join(tmpdir(), "holdfast-lost-answers-"))
  await Effect.runPromise(createKeySet(join(folder, "keys")))
  const port = await scoped(freshPort)
  const child = spawn(process.execPath, [main], {
    env: {
      PATH: process.env.PATH,
      HOLDFAST_DATABASE_URL: through.href,
      HOLDFAST_DATA_DIR: folder,
      HOLDFAST_COMMAND_PORT: String(port),
      HOLDFAST_GRPC_PORT: String(await scoped(freshPort))
    },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let text = ""
  const ready = Promise.withResolvers<void>()
  const collect = (chunk: Buffer) => {
    text += chunk.toString()
    if (text.includes("is ready")) ready.resolve()
  }
  child.stdout.on("data", collect)
  child.stderr.on("data", collect)
  child.once("exit", () => ready.reject(new Error(`the process ended before it was ready:\n${text}`)))
  await ready.promise
  line = { losing, edge: await forgetfulEdge(port), truth: truthAt(url), folder, child, output: () => text }
}, hookDeadlineMs)

afterAll(async () => {
  const exited = once(line.child, "exit")
  line.child.kill("SIGTERM")
  await line.edge.stop()
  await exited
  await line.losing.stop()
  await rm(line.folder, { recursive: true, force: true })
  await Effect.runPromise(Scope.close(scope, Exit.void))
}, hookDeadlineMs)

interface Case {
  readonly commandId: string
  readonly kind: Kind
  /** Tags in the order in which they were told; "no answer" where the connection broke. */
  readonly told: Array<string>
  replayed: boolean
}

it(`${count} forced lost answers: no double effect, and each client learns the truth by repeating`, async () => {
  const beganMs = performance.now()
  const cases: Array<Case> = []
  await Promise.all(Array.from({ length: clientsCount }, (_, client) => clientLife(client, cases)))
  const tookMs = performance.now() - beganMs
  const rows = await line.truth.ask<{ id: string; n: number }>(
    `SELECT command_id AS id, count(*)::int AS n FROM core.event_log
      WHERE type IN ('TicketOpened', 'TicketReplied') GROUP BY command_id`
  )
  const effects = new Map(rows.map(({ id, n }) => [id, n]))
  const forced = cases.filter(({ kind }) => kind !== "desk's answer lost")
  print(cases, tookMs)
  expect(cases).toHaveLength(count)
  expect(cases.filter(({ commandId }) => effects.get(commandId) !== 1)).toEqual([])
  // Each of them was hit, and was told that nobody knows, or nothing at all: never that nothing was done.
  expect(forced.filter(({ commandId }) => line.losing.fateOf(commandId) === undefined)).toEqual([])
  expect(cases.filter(({ kind, told }) => !told.includes(lossOf(kind)))).toEqual([])
  expect(cases.filter(({ told }) => told.at(-1) !== "accepted")).toEqual([])
  expect(forced.filter(isToldWrong)).toEqual([])
  const [numbers] = await line.truth.ask<{ same: number }>(
    `SELECT (count(*) - count(DISTINCT data->>'number'))::int AS same FROM core.event_log WHERE type = 'TicketOpened'`
  )
  expect(numbers).toEqual({ same: 0 })
}, 3_600_000)

/**
 * The last answer says whether it had been done before. One whose repetition was spoiled as well, in the company of others, or that was
 * repeated while nothing could be sent, says so too, but this test does not know which of its sendings did it.
 */
const isToldWrong = ({ commandId, replayed, told }: Case): boolean =>
  told.length === 2 && replayed !== (line.losing.fateOf(commandId) !== "never sent")

const lossOf = (kind: Kind): string => (kind === "desk's answer lost" ? "no answer" : "OutcomeUnknown")

/** Opens a ticket of its own, then replies to it and opens others, losing each answer once. */
const clientLife = async (client: number, cases: Array<Case>): Promise<void> => {
  let authorization = ""
  let ticketId = ""
  for (let turn = client; turn < count; turn += clientsCount) {
    const own = Math.floor(turn / clientsCount)
    if (own % commandsPerPrincipalMax === 0) authorization = await tokenOf(`client-${client}-${own}`)
    const one: Case = {
      commandId: randomUUIDv7(),
      kind: kinds[turn % kinds.length] ?? "answer lost",
      told: [],
      replayed: false
    }
    cases.push(one)
    if (one.kind === "desk's answer lost") line.edge.forget(one.commandId)
    else line.losing.spoil(one.commandId, one.kind)
    const isOpening = ticketId === "" || own % 2 === 0
    const path = isOpening ? "/v1/tickets" : `/v1/tickets/${ticketId}/replies`
    await untilTold(one, path, isOpening ? { subject: "Lost", body: "Did it?" } : { body: "It did." }, authorization)
    if (isOpening) ticketId = one.commandId
  }
}

const untilTold = async (one: Case, path: string, payload: unknown, authorization: string): Promise<void> => {
  while (one.told.at(-1) !== "accepted") {
    const answer = await send(one.commandId, path, payload, authorization)
    one.told.push(answer.tag)
    one.replayed = answer.replayed
    await pause(answer.retryAfterMs)
  }
}

const send = async (commandId: string, path: string, payload: unknown, authorization: string) => {
  try {
    const response = await fetch(`${line.edge.url}${path}`, {
      method: "POST",
      headers: { authorization, "content-type": "application/json", "idempotency-key": commandId },
      body: JSON.stringify(payload)
    })
    const body: unknown = await response.json()
    const retryAfterMs = Number(response.headers.get("retry-after") ?? "0") * 1000
    return { tag: response.status === 200 ? "accepted" : tagOf(body), replayed: isReplayed(body), retryAfterMs }
  } catch {
    return { tag: "no answer", replayed: false, retryAfterMs: 0 }
  }
}

const tagOf = (body: unknown): string =>
  typeof body === "object" && body !== null && "type" in body ? (String(body.type).split(":").at(-1) ?? "") : "?"

const isReplayed = (body: unknown): boolean =>
  typeof body === "object" && body !== null && "replayed" in body && body.replayed === true

const tokenOf = async (id: string): Promise<string> => {
  const token = await Effect.runPromise(
    issueToken({
      directory: join(line.folder, "keys"),
      principal: { id: PrincipalId.make(id), role: "agent" },
      issuer: "holdfast",
      audience: "holdfast",
      lifetime: Duration.hours(1)
    })
  )
  return `Bearer ${Redacted.value(token)}`
}

const print = (cases: ReadonlyArray<Case>, tookMs: number): void => {
  const byKind = [...Map.groupBy(cases, ({ kind }) => kind)].map(([kind, all]) => {
    const told = Map.groupBy(
      all.flatMap((one) => one.told),
      (tag) => tag
    )
    return `${kind} ${all.length}: told ${[...told].map(([tag, tags]) => `${tag} ${tags.length}`).join(", ")}`
  })
  const openings = line.output().split("database is down").length - 1
  const lines = [
    `${cases.length} forced lost answers in ${(tookMs / 1000).toFixed(1)} s`,
    `${line.losing.spoiled()} appends spoiled, the breaker opened ${openings} times`,
    ...byKind
  ]
  process.stdout.write(`${lines.join("\n  ")}\n`)
}
