// OpenTicket over REST, the whole way from a socket to a durable event, against pgbench running the same append statement for one
// command at a time on the same server in the same run. Ceiling and subject alternate, so that what the machine does
// meanwhile hits both.
import { type ChildProcess, execFile, fork, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { promisify } from "node:util"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { appendStatement } from "@holdfast/database/CommandStorePostgres"
import { createKeySet, issueToken, publicKeySetFile } from "@holdfast/identity/Tokens"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { requireExecutable } from "@holdfast/scripts/Binaries"
import { freshPort } from "@holdfast/testkit/TestServers"
import { Duration, Effect, Redacted } from "effect"
import type { LoadOrder, LoadResult } from "./commands.load.ts"
import { type Naming, profileParts } from "./Profile.ts"
import { median, quantile, rounded, table, writeSection } from "./Report.ts"

const connectionCounts = [1, 16, 64] as const
const runs = 3
const seconds = 5
/** At each number of connections, until what is measured is compiled. */
const warmUpSeconds = 5
/** Each may send 1 200 commands a minute. */
const principals = 600
const openLoopShare = 0.5

const run = promisify(execFile)
const root = resolve(import.meta.dirname, "../..")
const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"))

/** The append of one ticket, with ids that the server makes, since pgbench has none. */
const pgbenchScript = (): string => {
  const id = "@id@"
  const principal = { id: "bench", role: "agent" }
  const facts = { status: "new", assigneeId: null, requesterId: "bench" }
  const body = "It prints empty pages since this morning. ".repeat(5)
  const command = {
    ordinal: 0,
    principal,
    principal_id: "bench",
    command_id: id,
    fingerprint: "q".repeat(43),
    answer: { commandId: id, streamId: id, version: 1, number: 1, replayed: false },
    stream_type: "ticket",
    stream_id: id,
    decided_version: 0,
    version: 1,
    state: { ticketId: id, number: 1, requester: { id: "bench" }, status: "new", assigneeId: null, fileIds: [] },
    correlation_id: id,
    causation_id: null,
    traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`,
    occurred_at: "20261122T120000Z"
  }
  const event = {
    ordinal: 0,
    event_id: id,
    stream_version: 1,
    type: "TicketOpened",
    schema_version: 1,
    data: {
      ticketId: id,
      number: 1,
      subject: "Printer on floor 3",
      priority: "normal",
      requester: { id: "bench" },
      messageId: id,
      body
    },
    visibility: { audience: "public", requesterId: "bench", before: null, after: facts }
  }
  // pgbench takes a colon before a letter or digit for a variable of its own.
  const filled = (value: unknown) =>
    `replace('${JSON.stringify([value]).replaceAll('":', '": ')}', '${id}', (SELECT id FROM fresh))::jsonb`
  return appendStatement
    .replace("WITH command", "WITH fresh AS MATERIALIZED (SELECT gen_random_uuid()::text AS id), command")
    .replace("$1::jsonb", filled(command))
    .replace("$2::jsonb", filled(event))
    .replace("$3::float8", "604800")
    .replace("$4::int", "1")
    .replaceAll("\n", " ")
    .trim()
}

const pgbench = async (url: string, script: string, clients: number): Promise<number> => {
  const args = ["-n", "-M", "prepared", "-c", String(clients), "-T", String(seconds), "-f", script, url]
  const { stdout } = await run(requireExecutable("pgbench"), args)
  const perSecond = Number(/tps = ([\d.]+)/.exec(stdout)?.[1])
  if (!(perSecond > 0)) throw new Error(`pgbench said: ${stdout}`)
  return perSecond
}

const load = async (order: LoadOrder): Promise<LoadResult> => {
  const child = fork(join(import.meta.dirname, "commands.load.ts"))
  child.send(order)
  const [result]: Array<LoadResult> = await once(child, "message")
  if (result === undefined) throw new Error("the load had no result")
  const { "503": _unavailable, ...wrong } = result.refused
  if (Object.keys(wrong).length > 0) throw new Error(`refused: ${JSON.stringify(wrong)}`)
  return result
}

const startCommandApi = async (
  url: string,
  keys: string,
  profile: string | null
): Promise<{ child: ChildProcess; port: number }> => {
  const [port, grpcPort] = [await Effect.runPromise(freshPort), await Effect.runPromise(freshPort)]
  const child = spawn(
    process.execPath,
    [
      ...(profile === null ? [] : ["--cpu-prof", `--cpu-prof-dir=${profile}`]),
      join(root, "apps/command-api/src/main.ts")
    ],
    {
      stdio: ["ignore", "ignore", "inherit"],
      env: {
        ...process.env,
        HOLDFAST_DATABASE_URL: url,
        HOLDFAST_COMMAND_PORT: String(port),
        HOLDFAST_GRPC_PORT: String(grpcPort),
        HOLDFAST_JWKS: publicKeySetFile(keys)
      }
    }
  )
  for (let attempt = 0; attempt < 1200; attempt++) {
    const ready = await fetch(`http://127.0.0.1:${port}/health/ready`).catch(() => undefined)
    if (ready?.ok) return { child, port }
    await delay(50)
  }
  throw new Error("command-api did not become ready")
}

const makeTokens = (directory: string) =>
  Effect.andThen(
    createKeySet(directory),
    Effect.forEach(Array.from({ length: principals }), (_, index) =>
      Effect.map(
        issueToken({
          directory,
          issuer: "holdfast",
          audience: "holdfast",
          principal: { id: PrincipalId.make(`agent-${index}`), role: "agent" },
          lifetime: Duration.hours(1)
        }),
        Redacted.value
      )
    )
  )

interface Measured {
  readonly connections: number
  readonly ceiling: number
  readonly perSecond: number
  readonly ratio: number
  /** Answered 503 in all runs: the database took too long, and the desk said so. */
  readonly refused: number
  readonly open: LoadResult
}

const measure = async (
  url: string,
  port: number,
  tokens: ReadonlyArray<string>,
  connections: number
): Promise<Measured> => {
  const script = join(folder, "append.sql")
  writeFileSync(script, `${pgbenchScript()};\n`)
  const order = { port, connections, tokens, durationMs: seconds * 1000 }
  const [ceilings, subjects, ratios]: [Array<number>, Array<number>, Array<number>] = [[], [], []]
  let refusedCount = 0
  for (let round = 0; round < runs; round++) {
    const ceiling = await pgbench(url, script, connections)
    const { perSecond, refused } = await load({ ...order, rate: null })
    ceilings.push(ceiling)
    subjects.push(perSecond)
    ratios.push(perSecond / ceiling)
    refusedCount += refused["503"] ?? 0
    process.stdout.write(`${connections} connections: pgbench ${rounded(ceiling)}/s, REST ${rounded(perSecond)}/s\n`)
  }
  const perSecond = median(subjects)
  const open = await load({ ...order, rate: perSecond * openLoopShare })
  return { connections, ceiling: median(ceilings), perSecond, ratio: median(ratios), refused: refusedCount, open }
}

const naming: Naming = [
  ["PostgreSQL client (@effect/sql-pg)", /@effect\/sql-pg|effect\/(dist|src)\/sql\//],
  ["HTTP layer of Effect", /effect\/(dist|src)\/http|platform-node/],
  ["Effect runtime and other modules", /node_modules\/effect\//],
  ["Node's own HTTP, streams and sockets", /^node:/],
  ["Holdfast", /\/(packages|apps)\//]
]

const report = (measured: ReadonlyArray<Measured>, profile: string) => {
  const throughput = table(
    ["connections", "pgbench, one command per statement (1/s)", "REST (1/s)", "ratio", "answered 503"],
    measured.map((one) => [
      one.connections,
      rounded(one.ceiling),
      rounded(one.perSecond),
      rounded(one.ratio),
      one.refused
    ])
  )
  const latency = table(
    ["connections", "rate (1/s)", "p50 (ms)", "p99 (ms)", "p99.9 (ms)"],
    measured.map(({ connections, open }) => [
      connections,
      rounded(open.perSecond),
      ...[0.5, 0.99, 0.999].map((part) => rounded(quantile(open.latenciesMs, part)))
    ])
  )
  const parts = table(
    ["part", "share of the process's busy time (%)"],
    profileParts(profile, naming).map(({ name, share }) => [name, Math.round(share * 100)])
  )
  writeSection({
    name: "commands",
    title: "Commands: OpenTicket over REST",
    body: `A whole command: HTTP, token, validation, decision, one durable append. The ceiling is pgbench with the same append statement for one
command at a time, prepared, over as many connections, alternating with REST on the same server; median of ${runs} runs of ${seconds} s.
Generator, server and PostgreSQL share the machine.

${throughput}

Open loop at half of that rate, latency from when a request was due:

${latency}

Where the time of command-api goes, its start included (\`node --cpu-prof\`, in a process of its own, 16 connections):

${parts}`
  })
}

/** Ends it in peace, so that it writes its profile. */
const withCommandApi = <A>(url: string, keys: string, profile: string | null, use: (port: number) => Promise<A>) =>
  Effect.gen(function* () {
    const { child, port } = yield* Effect.acquireRelease(
      Effect.promise(() => startCommandApi(url, keys, profile)),
      ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const used = yield* Effect.promise(() => use(port))
    child.kill("SIGTERM")
    yield* Effect.promise(() => once(child, "exit"))
    return used
  }).pipe(Effect.scoped)

const main = Effect.gen(function* () {
  const url = Redacted.value(yield* migratedDatabase)
  const keys = join(folder, "keys")
  const tokens = yield* makeTokens(keys)
  const profile = join(folder, "profile")
  const measured = yield* withCommandApi(url, keys, null, async (port) => {
    const all: Array<Measured> = []
    for (const connections of [1, 64, 16, 1]) {
      await load({ port, connections, tokens, durationMs: warmUpSeconds * 1000, rate: null })
    }
    for (const connections of connectionCounts) all.push(await measure(url, port, tokens, connections))
    return all
  })
  // In a process of its own, because profiling costs time.
  yield* withCommandApi(url, keys, profile, (port) =>
    load({ port, connections: 16, tokens, durationMs: 4 * seconds * 1000, rate: null })
  )
  report(measured, profile)
})

try {
  await Effect.runPromise(Effect.scoped(main))
} finally {
  rmSync(folder, { recursive: true, force: true })
}
