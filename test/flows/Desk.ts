// A whole desk for a test, started as its user starts it: `holdfast up` with a data folder and ports of its own, either on the embedded
// default or on the private real servers. What a flow meets outside the desk (a webhook receiver, a trace collector) are real
// servers in the test. Everything ends with `stop`.
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

export interface Desk {
  readonly url: Readonly<Record<"command" | "query" | "realtime" | "file", string>>
  readonly grpcAddress: string
  readonly token: (role: string, sub: string, name?: string) => Promise<string>
  readonly webhooks: ReadonlyArray<ReceivedWebhook>
  readonly webhookSecret: string
  readonly spans: ReadonlyArray<ReceivedSpan>
  readonly output: () => string
  readonly stop: () => Promise<number | null>
}

export const webhookSecret = `whsec_${Buffer.from("a secret of a test, 32 bytes long").toString("base64")}`

export const root = join(import.meta.dirname, "../..")
const main = join(root, "apps/holdfast/src/main.ts")

export const startDesk = async (mode: Mode): Promise<Desk> => {
  const dataDir = await mkdtemp(join(tmpdir(), `holdfast-${mode}-`))
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
  const env = await environment(mode, dataDir, ports, portOf(receiver), portOf(collector), scope)
  const supervisor = await up(env)
  const stop = async () => {
    const code = await end(supervisor.child)
    receiver.closeAllConnections()
    collector.closeAllConnections()
    await Promise.all([close(receiver), close(collector)])
    await rm(dataDir, { recursive: true, force: true })
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
  return { url, grpcAddress, token, webhooks, webhookSecret, spans, output: supervisor.output, stop }
}

const portNames = ["COMMAND", "GRPC", "QUERY", "REALTIME", "FILE", "EVENT_WORKER", "FILE_WORKER", "POSTGRES"]

const environment = async (
  mode: Mode,
  dataDir: string,
  ports: ReadonlyArray<number>,
  receiverPort: number,
  collectorPort: number,
  scope: Scope.Scope
): Promise<NodeJS.ProcessEnv> => {
  const rules = join(dataDir, "rules.json")
  const hooks = join(dataDir, "webhooks.json")
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
  return {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    HOLDFAST_DATA_DIR: dataDir,
    HOLDFAST_RULES: rules,
    HOLDFAST_WEBHOOKS: hooks,
    HOLDFAST_WEBHOOK_ALLOW_PRIVATE: "true",
    HOLDFAST_OTLP_URL: `http://127.0.0.1:${collectorPort}`,
    ...Object.fromEntries(portNames.map((name, index) => [`HOLDFAST_${name}_PORT`, String(ports[index])])),
    ...(mode === "servers" ? await realServers(scope) : {})
  }
}

const required = (name: string): string => {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is not set: run \`npm test\`, which starts the private servers`)
  return value
}

/** A database of its own; the broker and the cache emptied of what an earlier desk left. */
const realServers = async (scope: Scope.Scope): Promise<NodeJS.ProcessEnv> => {
  const database = await Effect.runPromise(Scope.provide(freshDatabase(Effect.void), scope))
  const rabbitmq = required("HOLDFAST_TEST_RABBITMQ_URL")
  const redis = new URL(required("HOLDFAST_TEST_REDIS_URL"))
  redis.pathname = "/9"
  await removeDeskFrom(rabbitmq)
  await emptyCache(redis.href)
  return {
    HOLDFAST_DATABASE_URL: Redacted.value(database),
    HOLDFAST_RABBITMQ_URL: rabbitmq,
    HOLDFAST_REDIS_URL: redis.href,
    HOLDFAST_CLAMD_URL: required("HOLDFAST_TEST_CLAMD_URL")
  }
}

const removeDeskFrom = async (url: string): Promise<void> => {
  const { names } = makeTopology("holdfast")
  const connection = new Connection({ url })
  for (const queue of names.queues) await connection.queueDelete({ queue })
  for (const exchange of names.exchanges) await connection.exchangeDelete({ exchange })
  await connection.close()
}

const emptyCache = async (url: string): Promise<void> => {
  const redis = new Redis(url)
  await redis.flushdb()
  redis.disconnect()
}

const up = async (env: NodeJS.ProcessEnv) => {
  const child = spawn(process.execPath, [main, "up", "--json"], {
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
  return { child, output: () => text }
}

const end = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => {
    if (child.exitCode !== null) return resolve(child.exitCode)
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
