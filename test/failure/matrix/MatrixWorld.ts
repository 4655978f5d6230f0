// One desk for the failure matrix: on servers of its own, with a fault proxy before each of them, the read database apart from core, two
// webhook receivers and a key server. `look` asks each column of the matrix once, by a real client, and says what it got; `proof` says
// in the end whether anything was lost or doubled.
import { randomUUIDv7 } from "node:crypto"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { createKeySet, issueToken, publicKeySetFile } from "@holdfast/identity/Tokens"
import { freshDatabase } from "@holdfast/migrations/FreshDatabase"
import { type Stack, startStack } from "@holdfast/scripts/Stack"
import { type Fault, type FaultProxy, faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { ConfigProvider, Duration, Effect, Exit, Redacted, Scope } from "effect"
import { createClient } from "graphql-ws"
import { WebSocket } from "ws"
import { command, downloaded, until, upload } from "../../flows/Clients.ts"
import { type Desk, startDesk } from "../../flows/Desk.ts"

export const columns = [
  "commands",
  "queries",
  "realtime",
  "uploads",
  "downloads",
  "files",
  "webhook",
  "reactions"
] as const
export type Column = (typeof columns)[number]

/** What each column is when all is well. */
export const healthy: Readonly<Record<Column, string>> = {
  commands: "accepted",
  queries: "fresh",
  realtime: "live",
  uploads: "accepted",
  downloads: "work",
  files: "released",
  webhook: "delivered",
  reactions: "run"
}

export type Dependency = "read database" | "RabbitMQ" | "Redis" | "clamd" | "webhook receiver" | "key server"

/** Each event that a receiver was sent, and how often: at least once is what it is promised. */
type Deliveries = Map<string, number>

export class MatrixWorld {
  readonly stack: Stack
  readonly desk: Desk
  readonly proxies: ReadonlyMap<Dependency, FaultProxy>
  /** What the receiver behind the proxy answers. */
  answer: { status: number; headers?: Record<string, string> } = { status: 204 }
  readonly token: string
  /** By a key that the key server does not list. */
  readonly strangersToken: string
  readonly ticketId: string
  readonly #parts: Parts
  readonly #feed: Feed
  readonly #link: string
  readonly #replies: Array<string> = []
  readonly #uploads: Array<string> = []
  #version = 1
  #latest = { commandId: "", fileId: "" }

  private constructor(parts: Parts, desk: Desk, made: Made) {
    this.#parts = parts
    this.stack = parts.stack
    this.proxies = parts.proxies
    this.desk = desk
    this.token = made.token
    this.strangersToken = made.strangersToken
    this.ticketId = made.ticketId
    this.#link = made.link
    this.#feed = made.feed
    parts.answer = () => this.answer
  }

  static async start(): Promise<MatrixWorld> {
    const parts = await startParts()
    let desk: Desk | null = null
    try {
      desk = await startDesk("servers", { environment: parts.environment })
      return new MatrixWorld(parts, desk, await makeUse(desk, parts.issuer))
    } catch (cause) {
      await desk?.stop()
      await parts.stop()
      throw cause
    }
  }

  async set(dependency: Dependency, fault: Fault): Promise<void> {
    const proxy = this.proxies.get(dependency)
    if (proxy === undefined) throw new Error(`there is no proxy before ${dependency}`)
    await Effect.runPromise(proxy.set(fault))
  }

  /** Does what is new: a reply and an upload, whose way the other columns then follow. */
  async act(): Promise<Readonly<Record<"commands" | "uploads", string>>> {
    const [commands, uploads] = await Promise.all([this.#reply(), this.#upload()])
    return { commands, uploads }
  }

  async look(column: Column): Promise<string> {
    switch (column) {
      case "commands":
        return this.#reply()
      case "uploads":
        return this.#upload()
      case "queries":
        return this.#query()
      case "realtime":
        return this.#feed.state()
      case "downloads":
        return downloaded(this.#link).then(
          ({ bytes }) => (bytes.toString() === content ? "work" : "wrong bytes"),
          () => "fail"
        )
      case "files":
        return (await this.#fileState(this.#latest.fileId)) === "released" ? "released" : "wait"
      case "webhook":
        return this.#wasDelivered(this.#parts.tried) ? "delivered" : "waits"
      case "reactions":
        return this.#wasDelivered(this.#parts.steady) ? "run" : "wait"
    }
  }

  /** What somebody whose key the desk does not know is told. */
  async strangersStatus(): Promise<number> {
    const { status } = await this.#send(this.strangersToken, randomUUIDv7())
    return status
  }

  /** Everything that was acknowledged is there, once; everything that follows from it has followed. */
  async proof() {
    await until("every file is released", async () => {
      const states = await Promise.all(this.#uploads.map((id) => this.#fileState(id)))
      return states.every((state) => state === "released") ? true : null
    })
    const delivered = (to: Deliveries) => this.#replies.filter((commandId) => to.has(commandId)).length
    await until("every reply was delivered to both receivers", async () =>
      [this.#parts.tried, this.#parts.steady].every((to) => delivered(to) === this.#replies.length) ? true : null
    )
    await until("the feed has shown everything", async () =>
      this.#feed.versions.at(-1) === this.#version ? true : null
    )
    await until("the views have it", async () => ((await this.#query()) === "fresh" ? true : null))
    const conversation = await this.#conversation()
    return {
      replies: this.#replies.length,
      missing: this.#replies.filter((id) => !conversation.includes(id)).length,
      doubled: conversation.length - new Set(conversation).size,
      feedVersions: this.#feed.versions,
      feedClosed: this.#feed.closed(),
      version: this.#version,
      uploads: this.#uploads.length,
      repeatedDeliveries: [...this.#parts.tried.values()].reduce((sum, count) => sum + count - 1, 0)
    }
  }

  async stop(): Promise<void> {
    await this.#feed.close()
    await this.desk.stop()
    await this.#parts.stop()
  }

  async #reply(): Promise<string> {
    const commandId = randomUUIDv7()
    const { body, headers, status } = await this.#send(this.token, commandId)
    if (status === 503) return headers.has("retry-after") ? "refused" : "refused without Retry-After"
    if (status !== 200) return `answered ${status}: ${JSON.stringify(body)}`
    this.#replies.push(commandId)
    this.#latest.commandId = commandId
    if (isVersioned(body)) this.#version = Math.max(this.#version, body.version)
    return "accepted"
  }

  #send(token: string, commandId: string) {
    return command(this.desk, token, `/v1/tickets/${this.ticketId}/replies`, { body: commandId }, commandId)
  }

  async #upload(): Promise<string> {
    try {
      const bytes = Buffer.from(`${content} ${randomUUIDv7()}`)
      this.#latest.fileId = await upload(this.desk, this.token, bytes, { filename: "note.txt", filetype: "text/plain" })
      this.#uploads.push(this.#latest.fileId)
      return "accepted"
    } catch (error) {
      return `failed: ${error}`
    }
  }

  /** fresh: shows what was acknowledged. behind: the read database, which does not show it yet. cached. unavailable. */
  async #query(): Promise<string> {
    const text = "query($id: ID!, $v: Int) { ticket(id: $id, atLeastVersion: $v) { version } }"
    const { code, source } = await this.#ask(text, { id: this.ticketId, v: this.#version })
    if (code === "VERSION_NOT_REACHED") return "behind"
    if (code !== null) return code
    return source === "live" ? "fresh" : (source ?? "no source")
  }

  async #ask(query: string, variables: Readonly<Record<string, unknown>>): Promise<Asked> {
    const response = await fetch(`${this.desk.url.query}/graphql`, {
      method: "POST",
      headers: { authorization: `Bearer ${this.token}`, "content-type": "application/json" },
      body: JSON.stringify({ query, variables })
    })
    const body: unknown = await response.json()
    return {
      body,
      code: text(at(body, "errors", "0", "extensions", "code")),
      source: text(at(body, "extensions", "freshness", "source"))
    }
  }

  async #fileState(id: string): Promise<string | null> {
    const { body } = await this.#ask("query($id: ID!) { file(id: $id) { state } }", { id })
    return text(at(body, "data", "file", "state"))
  }

  async #conversation(): Promise<ReadonlyArray<string>> {
    const page = `query($id: ID!, $after: String) { ticket(id: $id) { conversation(first: 100, after: $after) {
      pageInfo { hasNextPage endCursor } nodes { body } } } }`
    const bodies: Array<string> = []
    for (let after: string | null = null; ; ) {
      const { body }: Asked = await this.#ask(page, { id: this.ticketId, after })
      const conversation = at(body, "data", "ticket", "conversation")
      const nodes = at(conversation, "nodes")
      if (Array.isArray(nodes)) bodies.push(...nodes.map((node) => text(at(node, "body")) ?? ""))
      after = text(at(conversation, "pageInfo", "endCursor"))
      if (at(conversation, "pageInfo", "hasNextPage") !== true) return bodies.filter((body) => body !== opening)
    }
  }

  #wasDelivered(to: Deliveries): boolean {
    return to.has(this.#latest.commandId)
  }
}

interface Asked {
  readonly body: unknown
  readonly code: string | null
  readonly source: string | null
}

const opening = "What now?"
const content = "Nothing that anybody would forbid."

const at = (value: unknown, ...path: ReadonlyArray<string>): unknown =>
  path.reduce<unknown>(
    (inner, key) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, key) : undefined),
    value
  )
const text = (value: unknown): string | null => (typeof value === "string" ? value : null)
const isVersioned = (body: unknown): body is { readonly version: number } => typeof at(body, "version") === "number"

interface Made {
  readonly token: string
  readonly strangersToken: string
  readonly ticketId: string
  readonly link: string
  readonly feed: Feed
}

/** A ticket, a released file with its link, and somebody who watches the ticket on one socket from beginning to end. */
const makeUse = async (desk: Desk, issuer: string): Promise<Made> => {
  const token = await tokenBy(issuer, "ada")
  const ticketId = randomUUIDv7()
  const opened = await command(desk, token, "/v1/tickets", { subject: "The matrix", body: opening }, ticketId)
  if (opened.status !== 200) throw new Error(`the ticket was not opened: ${JSON.stringify(opened.body)}`)
  const fileId = await upload(desk, token, Buffer.from(content), { filename: "note.txt", filetype: "text/plain" })
  const link = await until("the first file is released", async () => {
    const response = await fetch(`${desk.url.query}/graphql`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ query: "query($id: ID!) { file(id: $id) { downloadUrl } }", variables: { id: fileId } })
    })
    return text(at(await response.json(), "data", "file", "downloadUrl"))
  })
  return { token, strangersToken: await strangersToken(), ticketId, link, feed: watch(desk, token, ticketId) }
}

const strangersToken = async (): Promise<string> => {
  const directory = await mkdtemp(join(tmpdir(), "holdfast-stranger-"))
  await Effect.runPromise(createKeySet(directory))
  const token = await tokenBy(directory, "mallory")
  await rm(directory, { recursive: true })
  return token
}

const tokenBy = async (directory: string, id: string): Promise<string> => {
  const principal = { id: PrincipalId.make(id), role: "agent" as const }
  const wanted = { directory, principal, issuer: "holdfast", audience: "holdfast", lifetime: Duration.minutes(30) }
  return Redacted.value(await Effect.runPromise(issueToken(wanted)))
}

interface Feed {
  readonly versions: ReadonlyArray<number>
  readonly state: () => string
  readonly closed: () => boolean
  readonly close: () => Promise<void>
}

/** One socket that never comes back by itself: were it lost, its events would end. */
const watch = (desk: Desk, token: string, ticketId: string): Feed => {
  const versions: Array<number> = []
  let state = "unknown"
  let closed = false
  const hear = (payload: unknown) => {
    state = text(at(payload, "feed", "state")) ?? state
  }
  const client = createClient({
    url: desk.url.realtime,
    webSocketImpl: WebSocket,
    lazy: false,
    retryAttempts: 0,
    onNonLazyError: () => undefined,
    connectionParams: { authorization: `Bearer ${token}` },
    on: {
      connected: (_socket, payload) => hear(payload),
      ping: (_received, payload) => hear(payload),
      closed: () => {
        closed = true
      }
    }
  })
  client.subscribe<{ readonly ticketChanged: { readonly streamVersion: number } }>(
    {
      query: "subscription($id: ID!) { ticketChanged(id: $id, after: 0) { streamVersion } }",
      variables: { id: ticketId }
    },
    {
      next: ({ data }) => {
        if (data != null) versions.push(data.ticketChanged.streamVersion)
      },
      error: () => {
        closed = true
      },
      complete: () => {
        closed = true
      }
    }
  )
  return { versions, state: () => state, closed: () => closed, close: async () => client.dispose() }
}

interface Parts {
  readonly stack: Stack
  readonly proxies: ReadonlyMap<Dependency, FaultProxy>
  readonly environment: Readonly<Record<string, string>>
  /** The folder of the issuer's keys. */
  readonly issuer: string
  /** By the reply's command. The first is behind the proxy, the second is never touched. */
  readonly tried: Deliveries
  readonly steady: Deliveries
  answer: () => { readonly status: number; readonly headers?: Record<string, string> }
  readonly stop: () => Promise<void>
}

const secret = `whsec_${Buffer.from("a secret of a test, 32 bytes long").toString("base64")}`

const startParts = async (): Promise<Parts> => {
  const scope = Scope.makeUnsafe()
  const stack = await startStack()
  const dataDir = await mkdtemp(join(tmpdir(), "holdfast-matrix-"))
  const issuer = join(dataDir, "issuer")
  await Effect.runPromise(createKeySet(issuer))
  const tried: Deliveries = new Map()
  const steady: Deliveries = new Map()
  const parts = { answer: (): { status: number; headers?: Record<string, string> } => ({ status: 204 }) }
  const triedAt = await listen(async (body) => {
    const answer = parts.answer()
    if (answer.status < 300) note(tried, body)
    return { ...answer, body: "" }
  })
  const steadyAt = await listen(async (body) => {
    note(steady, body)
    return { status: 204, body: "" }
  })
  const keysAt = await listen(async () => {
    return { status: 200, body: await readFile(publicKeySetFile(issuer), "utf8") }
  })
  const url = (variable: string) => stack.environment[variable] ?? ""
  const database = await ownDatabase(url("HOLDFAST_TEST_DATABASE_URL"), scope)
  const readDatabase = await ownDatabase(url("HOLDFAST_TEST_DATABASE_URL"), scope)
  const targets: ReadonlyArray<readonly [Dependency, string]> = [
    ["read database", readDatabase],
    ["RabbitMQ", url("HOLDFAST_TEST_RABBITMQ_URL")],
    ["Redis", url("HOLDFAST_TEST_REDIS_URL")],
    ["clamd", url("HOLDFAST_TEST_CLAMD_URL")],
    ["webhook receiver", `${triedAt.url}/hook`],
    ["key server", `${keysAt.url}/jwks.json`]
  ]
  const proxies = new Map<Dependency, FaultProxy>()
  const led = new Map<Dependency, string>()
  for (const [dependency, target] of targets) {
    const proxy = await Effect.runPromise(Scope.provide(faultProxy(targetOf(target)), scope))
    proxies.set(dependency, proxy)
    led.set(dependency, proxy.through(target))
  }
  const hooks = join(dataDir, "hooks.json")
  const endpoints = [
    { id: "tried", url: led.get("webhook receiver"), secret, events: ["TicketReplied"] },
    { id: "steady", url: `${steadyAt.url}/hook`, secret, events: ["TicketReplied"] }
  ]
  await writeFile(hooks, JSON.stringify(endpoints))
  const environment = {
    HOLDFAST_DATA_DIR: dataDir,
    HOLDFAST_DATABASE_URL: database,
    HOLDFAST_READ_DATABASE_URL: led.get("read database") ?? "",
    HOLDFAST_RABBITMQ_URL: led.get("RabbitMQ") ?? "",
    HOLDFAST_REDIS_URL: led.get("Redis") ?? "",
    HOLDFAST_CLAMD_URL: led.get("clamd") ?? "",
    HOLDFAST_JWKS: led.get("key server") ?? "",
    HOLDFAST_WEBHOOKS: hooks
  }
  const stop = async () => {
    for (const { server } of [triedAt, steadyAt, keysAt]) {
      server.closeAllConnections()
      server.close()
    }
    await Effect.runPromise(Scope.close(scope, Exit.void))
    await stack.stop()
    await rm(dataDir, { recursive: true, force: true })
  }
  return Object.assign(parts, { stack, proxies, environment, issuer, tried, steady, stop })
}

const note = (deliveries: Deliveries, body: string): void => {
  const commandId = text(at(JSON.parse(body), "data", "body")) ?? ""
  deliveries.set(commandId, (deliveries.get(commandId) ?? 0) + 1)
}

const ownDatabase = async (server: string, scope: Scope.Scope): Promise<string> => {
  const config = ConfigProvider.layer(ConfigProvider.fromEnv({ env: { HOLDFAST_TEST_DATABASE_URL: server } }))
  const made = freshDatabase(Effect.void).pipe(Effect.provide(config, { local: true }))
  return Redacted.value(await Effect.runPromise(Scope.provide(made, scope)))
}

interface Answering {
  readonly status: number
  readonly headers?: Record<string, string>
  readonly body: string
}

const listen = async (handle: (body: string) => Promise<Answering>): Promise<{ url: string; server: Server }> => {
  const server = createServer(async (request, response) => {
    const chunks: Array<Buffer> = []
    for await (const chunk of request) chunks.push(chunk)
    const { body, headers = {}, status } = await handle(Buffer.concat(chunks).toString())
    response.writeHead(status, headers).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("the server listens on no port")
  return { url: `http://127.0.0.1:${address.port}`, server }
}

/** Looks until the column is as wanted, for a bounded time; what it was last. */
export const become = async (world: MatrixWorld, column: Column, wanted: string, withinMs: number): Promise<string> => {
  const until = Date.now() + withinMs
  for (;;) {
    const seen = await world.look(column)
    if (seen === wanted || Date.now() > until) return seen
    await pause(100)
  }
}
