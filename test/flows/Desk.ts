// A whole desk for a test, started as its user starts it: `holdfast up` with a data folder and ports of its own, either on the embedded
// default or on the private real servers. What a flow meets outside the desk (a webhook receiver, a trace collector) are real
// servers in the test. A test that breaks servers names its own in `environment`: a server named there is used as it is, and the
// shared one in its place is never touched. Everything ends with `stop`.
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer, type IncomingMessage, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { makeTopology } from "@holdfast/broker/Topology"
import { freshDatabase } from "@holdfast/migrations/FreshDatabase"
import { choosePort } from "@holdfast/scripts/Ports"
import { Effect, Exit, Redacted, Scope } from "effect"
import { Redis } from "ioredis"
import { Connection } from "rabbitmq-client"

export type Mode = "embedded" | "servers"

export interface ReceivedWebhook {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface ReceivedSpan {
  readonly traceId: string
  readonly name: string
  readonly service: string
}

export interface DeskOptions {
  /** Merged last into the environment of `holdfast up`; undefined takes away. A data folder named here outlives the desk. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** After `holdfast up --json`. */
  readonly arguments?: ReadonlyArray<string>
}

export interface Desk {
  readonly url: Readonly<Record<"command" | "query" | "realtime" | "file", string>>
  readonly grpcAddress: string
  readonly token: (role: string, sub: string, name?: string) => Promise<string>
  readonly webhooks: ReadonlyArray<ReceivedWebhook>
  readonly webhookSecret: string
  readonly spans: ReadonlyArray<ReceivedSpan>
  readonly output: () => string
  readonly dataDir: string
  /** Of the supervisor, the parent of every process of the desk. */
  readonly pid: number
  readonly stop: () => Promise<number | null>
}

export const webhookSecret = `whsec_${Buffer.from("a secret of a test, 32 bytes long").toString("base64")}`

export const root = join(import.meta.dirname, "../..")
const main = join(root, "apps/holdfast/src/main.ts")

export const startDesk = async (mode: Mode, options: DeskOptions = {}): Promise<Desk> => {
  const ownDir = await mkdtemp(join(tmpdir(), `holdfast-${mode}-`))
  const dataDir = options.environment?.HOLDFAST_DATA_DIR ?? ownDir
  const webhooks: Array<ReceivedWebhook> = []
  const spans: Array<ReceivedSpan> = []
  const receiver = await listen(async (request) => {
    webhooks.push({ headers: headersOf(request), body: await bodyOf(request) })
  })
  const collector = await listen(async (request) => {
    if (request.url?.endsWith("/v1/traces")) spans.push(...spansOf(JSON.parse(await bodyOf(request))))
  })
  const ports = await freePorts(8)
  const scope = Scope.makeUnsafe()
  const files = await writeFiles(ownDir, portOf(receiver))
  const env = {
    ...environment(dataDir, files, ports, portOf(collector)),
    ...(mode === "servers" ? await realServers(options.environment ?? {}, scope) : {}),
    ...options.environment
  }
  const supervisor = await up(env, options.arguments ?? [])
  const stop = async () => {
    const code = await end(supervisor.child)
    receiver.closeAllConnections()
    collector.closeAllConnections()
    await Promise.all([close(receiver), close(collector)])
    await rm(ownDir, { recursive: true, force: true })
    await Effect.runPromise(Scope.close(scope, Exit.void))
    return code
  }
  const url = {
    command: `http://127.0.0.1:${ports[0]}`,
    query: `http://127.0.0.1:${ports[2]}`,
    realtime: `ws://127.0.0.1:${ports[3]}/graphql`,
    file: `http://127.0.0.1:${ports[4]}`
  }
  const token = (role: string, sub: string, name?: string) => issue(env, role, sub, name)
  const grpcAddress = `127.0.0.1:${ports[1]}`
  const { output, pid } = supervisor
  return { url, grpcAddress, token, webhooks, webhookSecret, spans, output, dataDir, pid, stop }
}

const portNames = ["COMMAND", "GRPC", "QUERY", "REALTIME", "FILE", "EVENT_WORKER", "FILE_WORKER", "POSTGRES"]

interface DeskFiles {
  readonly rules: string
  readonly hooks: string
}

const writeFiles = async (folder: string, receiverPort: number): Promise<DeskFiles> => {
  const rules = join(folder, "rules.json")
  const hooks = join(folder, "webhooks.json")
  await writeFile(
    rules,
    JSON.stringify([
      {
        id: "printers-to-ada",
        on: "TicketOpened",
        conditions: [{ _tag: "SubjectContains", words: "printer" }],
        actions: [{ _tag: "AssignTo", assigneeId: "ada" }]
      }
    ])
  )
  await writeFile(
    hooks,
    JSON.stringify([{ id: "test", url: `http://127.0.0.1:${receiverPort}/hook`, secret: webhookSecret }])
  )
  return { rules, hooks }
}

const environment = (
  dataDir: string,
  files: DeskFiles,
  ports: ReadonlyArray<number>,
  collectorPort: number
): NodeJS.ProcessEnv => ({
  PATH: process.env.PATH,
  HOME: process.env.HOME,
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
  HOLDFAST_DATA_DIR: dataDir,
  HOLDFAST_RULES: files.rules,
  HOLDFAST_WEBHOOKS: files.hooks,
  HOLDFAST_WEBHOOK_ALLOW_PRIVATE: "true",
  HOLDFAST_OTLP_URL: `http://127.0.0.1:${collectorPort}`,
  ...Object.fromEntries(portNames.map((name, index) => [`HOLDFAST_${name}_PORT`, String(ports[index])]))
})

const required = (name: string): string => {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is not set: run \`npm test\`, which starts the private servers`)
  return value
}

/** For each server that the test did not name: a database of its own; the broker and the cache emptied of what an earlier desk left. */
const realServers = async (
  named: Readonly<Record<string, string | undefined>>,
  scope: Scope.Scope
): Promise<NodeJS.ProcessEnv> => ({
  HOLDFAST_DATABASE_URL: named.HOLDFAST_DATABASE_URL ?? (await ownDatabase(scope)),
  HOLDFAST_RABBITMQ_URL: named.HOLDFAST_RABBITMQ_URL ?? (await emptiedBroker()),
  HOLDFAST_REDIS_URL: named.HOLDFAST_REDIS_URL ?? (await emptiedCache()),
  HOLDFAST_CLAMD_URL: named.HOLDFAST_CLAMD_URL ?? required("HOLDFAST_TEST_CLAMD_URL")
})

const ownDatabase = async (scope: Scope.Scope): Promise<string> =>
  Redacted.value(await Effect.runPromise(Scope.provide(freshDatabase(Effect.void), scope)))

const emptiedBroker = async (): Promise<string> => {
  const url = required("HOLDFAST_TEST_RABBITMQ_URL")
  const { names } = makeTopology("holdfast")
  const connection = new Connection({ url })
  for (const queue of names.queues) await connection.queueDelete({ queue })
  for (const exchange of names.exchanges) await connection.exchangeDelete({ exchange })
  await connection.close()
  return url
}

const emptiedCache = async (): Promise<string> => {
  const url = new URL(required("HOLDFAST_TEST_REDIS_URL"))
  url.pathname = "/9"
  const redis = new Redis(url.href)
  await redis.flushdb()
  redis.disconnect()
  return url.href
}

const up = async (env: NodeJS.ProcessEnv, more: ReadonlyArray<string>) => {
  const child = spawn(process.execPath, [main, "up", "--json", ...more], {
    cwd: root,
    env,
    stdio: ["ignore", "pipe", "pipe"]
  })
  let text = ""
  const ready = Promise.withResolvers<void>()
  const collect = (chunk: Buffer) => {
    text += chunk.toString()
    if (text.includes('"ready":true')) ready.resolve()
  }
  child.stdout.on("data", collect)
  child.stderr.on("data", collect)
  child.once("exit", (code) => ready.reject(new Error(`the desk ended with ${code} before it was ready:\n${text}`)))
  await ready.promise
  if (child.pid === undefined) throw new Error("the desk was ready without a process")
  return { child, pid: child.pid, output: () => text }
}

const end = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve(child.exitCode)
    child.once("exit", (code) => resolve(code))
    child.kill("SIGTERM")
  })

/** As an operator makes one: `holdfast token`. */
const issue = async (env: NodeJS.ProcessEnv, role: string, sub: string, name?: string): Promise<string> => {
  const named = name === undefined ? [] : ["--name", name]
  const child = spawn(process.execPath, [main, "token", "--role", role, "--sub", sub, ...named], {
    cwd: root,
    env,
    stdio: ["ignore", "pipe", "inherit"]
  })
  const text = await new Response(ReadableStream.from(child.stdout)).text()
  return text.trim()
}

const listen = async (handle: (request: IncomingMessage) => Promise<void>): Promise<Server> => {
  const server = createServer((request, response) => {
    handle(request).then(
      () => response.writeHead(200, { "content-type": "application/json" }).end("{}"),
      () => response.writeHead(500).end()
    )
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return server
}

const close = (server: Server) => new Promise((resolve) => server.close(resolve))
const portOf = (server: { address(): string | AddressInfo | null }): number => {
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("the server listens on no port")
  return address.port
}

const freePorts = async (count: number): Promise<ReadonlyArray<number>> => {
  const taken = new Set<number>()
  for (let made = 0; made < count; made++) await choosePort(undefined, taken)
  return [...taken]
}

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

const headersOf = (request: IncomingMessage): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))

interface OtlpTraces {
  readonly resourceSpans: ReadonlyArray<{
    readonly resource: {
      readonly attributes: ReadonlyArray<{ readonly key: string; readonly value: { readonly stringValue?: string } }>
    }
    readonly scopeSpans: ReadonlyArray<{
      readonly spans: ReadonlyArray<{ readonly traceId: string; readonly name: string }>
    }>
  }>
}

const spansOf = (traces: OtlpTraces): ReadonlyArray<ReceivedSpan> =>
  traces.resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = resource.attributes.find(({ key }) => key === "service.name")?.value.stringValue ?? ""
    return scopeSpans.flatMap(({ spans }) => spans.map(({ name, traceId }) => ({ name, traceId, service })))
  })
