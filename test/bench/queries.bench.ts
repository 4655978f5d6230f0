// A page of 20 tickets with requester and assignee over GraphQL, the whole way from the socket through token, bounds and a real read
// database, against three servers that do less: one that has the answer in memory and serialises it, one that asks the same database with
// the same client and serialises what it gets, and graphql-js without caches on an answer in memory. They alternate, so that what the
// machine does meanwhile hits all.
import { type ChildProcess, fork, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { TicketView } from "@holdfast/contracts/ticket/Views"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { ReadDatabase } from "@holdfast/database/Database"
import { noChanges, ReadProjection } from "@holdfast/database/ReadTables"
import * as ReadTablesProjection from "@holdfast/database/ReadTablesProjection"
import { applyTicket } from "@holdfast/domain/ticket/TicketView"
import { createKeySet, issueToken, publicKeySetFile } from "@holdfast/identity/Tokens"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { printedSchema } from "@holdfast/queries/graphql/Printed"
import { Health } from "@holdfast/resilience/Health"
import { History, principal } from "@holdfast/testkit/History"
import { freshPort } from "@holdfast/testkit/TestServers"
import { Duration, Effect, Layer, Redacted, Schema } from "effect"
import { type Naming, profileParts } from "./Profile.ts"
import type { QueryLoadOrder, QueryLoadResult } from "./queries.load.ts"
import type { RivalOrder } from "./queries.rivals.ts"
import { median, quantile, rounded, table, writeSection } from "./Report.ts"

const connectionCounts = [1, 16, 64] as const
const runs = 3
const seconds = 2
const ticketCount = 500
const agentCount = 10

const root = resolve(import.meta.dirname, "../..")
const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"))

const query = `query List { tickets(list: all, first: 20) { edges { node {
  id number subject status priority updatedAt requester { id name email } assignee { id name email }
} } pageInfo { hasNextPage endCursor } } }`
const body = JSON.stringify({ query })

/** Tickets of 50 customers, held by 10 agents. */
const fillTickets = (url: Redacted.Redacted<string>) => {
  const history = new History()
  for (let n = 0; n < ticketCount; n++) {
    const ticketId = history.open(
      principal("customer", `customer-${n % 50}`),
      `Printer ${n} on floor ${n % 7} prints empty pages`
    )
    history.issue(principal("agent", `agent-${n % agentCount}`), { _tag: "ClaimTicket", ticketId })
  }
  const { envelopes } = history
  const views = [...Map.groupBy(envelopes, ({ streamId }) => streamId).values()].map((events) =>
    events.reduce<TicketView | null>(applyTicket, null)
  )
  const tickets = views.flatMap((view) =>
    view === null ? [] : [{ ticket: Schema.encodeSync(TicketView)(view), subjectWords: [] }]
  )
  const people = envelopes.map(({ position, principal: { id, name = "", role } }) => ({
    person: { id, name },
    role,
    position
  }))
  const distinct = [...new Map(people.map((one) => [one.person.id, one])).values()]
  const change = { applied: [], through: envelopes.length, nowMs: Date.now() }
  const projection = ReadTablesProjection.layer.pipe(
    Layer.provide(ReadDatabase.layer),
    Layer.provide(ClientPostgres.layerRead({ url, applicationName: "bench" })),
    Layer.provide(Health.layer)
  )
  return ReadProjection.use((one) => one.save({ ...noChanges, tickets, people: distinct }, change)).pipe(
    Effect.provide(projection)
  )
}

/** Every connection is somebody else's: ten agents, each with a token of their own. */
const makeTokens = (directory: string) => {
  const tokenOf = (n: number) =>
    issueToken({
      directory,
      issuer: "holdfast",
      audience: "holdfast",
      principal: { id: principal("agent", `agent-${n}`).id, role: "agent" },
      lifetime: Duration.hours(1)
    }).pipe(Effect.map(Redacted.value))
  return Effect.andThen(createKeySet(directory), Effect.forEach(Array.from({ length: agentCount }).keys(), tokenOf))
}

/** Profiling takes a part of the time itself, so what is measured is not profiled. */
const startQueryApi = async (url: string, keys: string, profile: string | null) => {
  const flags = profile === null ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`]
  const port = await Effect.runPromise(freshPort)
  const downloadKey = join(folder, "download.key")
  writeFileSync(downloadKey, "b".repeat(64))
  const child = spawn(process.execPath, [...flags, join(root, "apps/query-api/src/main.ts")], {
    stdio: ["ignore", "ignore", "inherit"],
    env: {
      ...process.env,
      HOLDFAST_DATABASE_URL: url,
      HOLDFAST_DATA_DIR: folder,
      HOLDFAST_DOWNLOAD_KEY_FILE: downloadKey,
      HOLDFAST_JWKS: publicKeySetFile(keys),
      HOLDFAST_QUERY_PORT: String(port)
    }
  })
  for (let attempt = 0; attempt < 200; attempt++) {
    const ready = await fetch(`http://127.0.0.1:${port}/health/ready`).catch(() => undefined)
    if (ready?.ok) return { child, port }
    await delay(50)
  }
  throw new Error("query-api did not become ready")
}

const startRival = async (kind: RivalOrder["kind"], answer: RivalOrder["answer"], databaseUrl: string) => {
  const port = await Effect.runPromise(freshPort)
  const child = fork(join(import.meta.dirname, "queries.rivals.ts"))
  child.send({ kind, port, answer, sdl: printedSchema(), databaseUrl } satisfies RivalOrder)
  const ended = once(child, "exit").then(() => Promise.reject(new Error(`${kind} did not start`)))
  await Promise.race([once(child, "message"), ended])
  return { child, port }
}

const load = async (order: QueryLoadOrder): Promise<QueryLoadResult> => {
  const child = fork(join(import.meta.dirname, "queries.load.ts"))
  child.send(order)
  const [result]: Array<QueryLoadResult> = await once(child, "message")
  if (result === undefined || result.wrong > 0) throw new Error(`the load went wrong: ${JSON.stringify(result?.wrong)}`)
  return result
}

const Page = Schema.Struct({
  tickets: Schema.Struct({
    edges: Schema.Array(Schema.Unknown).check(Schema.isBetweenLength(20, 20)),
    pageInfo: Schema.Unknown
  })
})
const decodeAnswer = Schema.decodeUnknownSync(Schema.Struct({ data: Page }))

const ask = async (port: number, token: string): Promise<RivalOrder["answer"]> => {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" }
  const response = await fetch(`http://127.0.0.1:${port}/graphql`, { method: "POST", headers, body })
  const answer: unknown = await response.json()
  return decodeAnswer(answer)
}

interface Measured {
  readonly connections: number
  readonly raw: number
  readonly rawSql: number
  readonly bare: number
  readonly desk: number
  readonly toRaw: number
  readonly toRawSql: number
  readonly latenciesMs: ReadonlyArray<number>
}

interface Ports {
  readonly raw: number
  readonly rawSql: number
  readonly bare: number
  readonly desk: number
}

const measure = async (ports: Ports, tokens: ReadonlyArray<string>, connections: number): Promise<Measured> => {
  const order = { connections, tokens, body, durationMs: seconds * 1000 }
  const rates = { raw: [] as number[], rawSql: [] as number[], bare: [] as number[], desk: [] as number[] }
  const latenciesMs: Array<number> = []
  for (let round = 0; round < runs; round++) {
    rates.raw.push((await load({ ...order, port: ports.raw })).perSecond)
    rates.rawSql.push((await load({ ...order, port: ports.rawSql })).perSecond)
    rates.bare.push((await load({ ...order, port: ports.bare })).perSecond)
    const desk = await load({ ...order, port: ports.desk })
    rates.desk.push(desk.perSecond)
    for (const one of desk.latenciesMs) latenciesMs.push(one)
  }
  const ratioTo = (others: ReadonlyArray<number>) =>
    median(rates.desk.map((desk, round) => desk / (others[round] ?? Number.NaN)))
  const [raw, rawSql, bare, desk] = [median(rates.raw), median(rates.rawSql), median(rates.bare), median(rates.desk)]
  process.stdout.write(
    `${connections} connections: raw ${rounded(raw)}/s, raw with SQL ${rounded(rawSql)}/s, graphql-js ${rounded(bare)}/s, desk ${rounded(desk)}/s\n`
  )
  return {
    ...{ connections, raw, rawSql, bare, desk, latenciesMs },
    ...{ toRaw: ratioTo(rates.raw), toRawSql: ratioTo(rates.rawSql) }
  }
}

const naming: Naming = [
  ["PostgreSQL client (@effect/sql-pg)", /@effect\/sql-pg|effect\/(dist|src)\/sql\//],
  ["Effect runtime and other modules", /node_modules\/effect\//],
  ["graphql-js", /node_modules\/graphql\//],
  ["Node's own HTTP, streams and sockets", /^node:/],
  ["Holdfast", /\/(packages|apps)\//]
]

const report = (measured: ReadonlyArray<Measured>, profile: string) => {
  const rates = table(
    [
      ...["connections", "raw JSON (1/s)", "raw JSON with SQL (1/s)", "bare graphql-js (1/s)", "desk (1/s)"],
      ...["desk / raw", "desk / raw with SQL", "p50 (ms)", "p99 (ms)"]
    ],
    measured.map((one) => [
      one.connections,
      ...[one.raw, one.rawSql, one.bare, one.desk, one.toRaw, one.toRawSql].map(rounded),
      ...[0.5, 0.99].map((part) => rounded(quantile(one.latenciesMs, part)))
    ])
  )
  const parts = table(
    ["part", "share of the process's busy time (%)"],
    profileParts(profile, naming).map(({ name, share }) => [name, Math.round(share * 100)])
  )
  writeSection({
    name: "queries",
    title: "Queries: 20 tickets with requester and assignee over GraphQL",
    body: `The desk verifies a token, bounds and plans the query, and reads a real PostgreSQL; requests of ${agentCount} agents that ask for the same page at
the same moment share one statement, which began after each of them had arrived, and the text that is made of it. Raw JSON and bare
graphql-js have the same answer in memory and nothing else to do; raw JSON with SQL runs the statement in every request, with the same
client. The second ratio is what GraphQL, permissions and sharing cost or save where both must ask; the first is a ceiling for a desk that need
never ask. Closed loop, alternating; median of ${runs} runs of ${seconds} s. Generator, servers and PostgreSQL share the machine. One connection waits for
PostgreSQL each time.

${rates}

Where the time of query-api goes (\`node --cpu-prof\`, another process at 64 connections):

${parts}`
  })
}

const ended = (start: () => Promise<{ readonly child: ChildProcess; readonly port: number }>) =>
  Effect.acquireRelease(Effect.promise(start), ({ child }) => Effect.sync(() => child.kill("SIGKILL")))

const main = Effect.gen(function* () {
  const url = yield* migratedDatabase
  yield* fillTickets(url)
  const keys = join(folder, "keys")
  const tokens = yield* makeTokens(keys)
  const profile = join(folder, "profile")
  const desk = yield* ended(() => startQueryApi(Redacted.value(url), keys, null))
  const answer = yield* Effect.promise(() => ask(desk.port, tokens[0] ?? ""))
  const rival = (kind: RivalOrder["kind"]) => ended(() => startRival(kind, answer, Redacted.value(url)))
  const [raw, rawSql, bare] = [yield* rival("raw"), yield* rival("raw-sql"), yield* rival("graphql-js")]
  const ports = { raw: raw.port, rawSql: rawSql.port, bare: bare.port, desk: desk.port }
  yield* Effect.promise(() => load({ port: desk.port, tokens, body, connections: 16, durationMs: 2000 }))
  const measured: Array<Measured> = []
  for (const connections of connectionCounts)
    measured.push(yield* Effect.promise(() => measure(ports, tokens, connections)))
  const profiled = yield* ended(() => startQueryApi(Redacted.value(url), keys, profile))
  yield* Effect.promise(() => load({ port: profiled.port, tokens, body, connections: 64, durationMs: seconds * 3000 }))
  profiled.child.kill("SIGTERM")
  yield* Effect.promise(() => once(profiled.child, "exit"))
  report(measured, profile)
})

try {
  await Effect.runPromise(Effect.scoped(main))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
