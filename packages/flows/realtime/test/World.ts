// A running gateway on a real port with doubles behind it, and a raw client that says exactly what a test wants to say.
import { createServer } from "node:http"
import { Unauthenticated } from "@holdfast/contracts/CommandErrors"
import type { Principal } from "@holdfast/contracts/Principal"
import { GraphqlExecutor } from "@holdfast/contracts/wire/GraphqlExecutor"
import { Identity } from "@holdfast/identity/Identity"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { type ClientOptions, WebSocket } from "ws"
import { Gateway, type GatewayOptions, layer } from "../src/Gateway.ts"
import { takeStreams } from "../src/StreamRequest.ts"
import { takeUpgrades } from "../src/Upgrade.ts"
import type { BrokerDouble } from "./BrokerDouble.ts"
import { principals, ticketId } from "./Events.ts"
import { SignalsDouble } from "./SignalsDouble.ts"

/** What waits until the test lets it go on. */
type Held = Array<() => void>

const hold = (held: Held) =>
  Effect.callback<void>((resume) => {
    held.push(() => resume(Effect.void))
  })

/** The first ticket is the first customer's; nobody can tell whose the hundredth is. */
const ownedBy = (principal: Principal, id: unknown) => {
  if (id === ticketId(99)) return { errors: [{ message: "away" }], data: { ticket: null } }
  return { data: { ticket: principal.id === "customer-1" && id === ticketId(0) ? { id } : null } }
}

/** A principal's token is its id; `<id>@<seconds>` ends then, and `held-<id>` is held. */
const identityWith = (held: Held): Layer.Layer<Identity> => {
  const verify: Identity["Service"]["verify"] = (token) => {
    const [id = "", expires] = Redacted.value(token).split("@")
    if (id.startsWith("held-")) return Effect.andThen(hold(held), verify(Redacted.make(id.slice("held-".length))))
    if (id === "away") {
      return Effect.fail(
        new Unavailable({ dependency: "identity", reason: "unreachable", retryAfterMs: 7, detail: "" })
      )
    }
    const principal = principals.find((known) => known.id === id)
    if (principal === undefined) return Effect.fail(new Unauthenticated({ detail: "no" }))
    return Effect.succeed({ principal, expiresAtSeconds: Number(expires ?? 1e12) })
  }
  return Layer.succeed(Identity, Identity.of({ verify }))
}

/** Queries that say `held` are held, and whose the ninety-ninth ticket is. */
const executorWith = (held: Held) =>
  Layer.succeed(
    GraphqlExecutor,
    GraphqlExecutor.of({
      execute: (principal, request) =>
        Effect.as(
          request.query.includes("held") || request.variables?.id === ticketId(98) ? hold(held) : Effect.void,
          request.query.includes("ticket(id: $id)")
            ? ownedBy(principal, request.variables?.id)
            : request.query.includes("broken")
              ? { errors: [{ message: "no such field", extensions: { code: "BAD_USER_INPUT" } }] }
              : { data: { me: principal.id, variables: request.variables }, extensions: { freshness: "live" } }
        )
    })
  )

export interface World {
  readonly url: string
  /** Where event streams are asked for. */
  readonly streamUrl: string
  /** Tokens and queries that wait, oldest first. */
  readonly held: Array<() => void>
  readonly gateway: Gateway["Service"]
  readonly stop: Effect.Effect<void>
}

/** Ends with the scope, or earlier by `stop`. */
export const startGateway = Effect.fnUntraced(function* (
  broker: BrokerDouble,
  allowedOrigins: ReadonlyArray<string> = [],
  limits: Omit<GatewayOptions, "allowedOrigins"> = {},
  signals: SignalsDouble = new SignalsDouble()
) {
  const server = createServer()
  const listening = yield* Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () => Effect.sync(() => server.close())
  )
  const scope = yield* Effect.acquireRelease(Scope.make(), (made, exit) => Scope.close(made, exit))
  const held: Held = []
  const built = yield* Layer.buildWithScope(
    layer({ allowedOrigins, ...limits }).pipe(
      Layer.provide([broker.layer, signals.layer, identityWith(held), executorWith(held)])
    ),
    scope
  )
  const gateway = Context.get(built, Gateway)
  takeUpgrades(server, (request, socket, head) => gateway.handleUpgrade(request, socket, head))
  takeStreams(server, (request, response) => gateway.handleStream(request, response))
  const world: World = {
    url: `ws://127.0.0.1:${listening}/graphql`,
    streamUrl: `http://127.0.0.1:${listening}/graphql/stream`,
    held,
    gateway,
    stop: Scope.close(scope, Exit.void)
  }
  return world
})

interface Message {
  readonly type: string
  readonly id?: string
  readonly payload?: Record<string, unknown> & { readonly data?: Record<string, Record<string, unknown>> }
}

export class RawClient {
  readonly socket: WebSocket
  readonly #messages: Array<Message> = []
  readonly #readers: Array<(message: Message) => void> = []
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>

  constructor(url: string, options: ClientOptions = {}, protocol = "graphql-transport-ws") {
    this.socket = new WebSocket(url, protocol, options)
    this.socket.on("error", () => undefined)
    this.closed = new Promise((resolve) => {
      this.socket.once("close", (code, reason) => resolve({ code, reason: String(reason) }))
    })
    this.socket.on("message", (data) => this.#took(JSON.parse(String(data))))
  }

  #took(message: Message): void {
    const reader = this.#readers.shift()
    if (reader === undefined) this.#messages.push(message)
    else reader(message)
  }

  opened(): Promise<this> {
    return new Promise((resolve, reject) => {
      this.socket.once("open", () => resolve(this))
      this.socket.once("unexpected-response", (_request, response) => reject(new Error(String(response.statusCode))))
    })
  }

  say(message: unknown): this {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message))
    return this
  }

  subscribe(id: string, query: string, variables: Record<string, unknown> = {}): this {
    return this.say({ id, type: "subscribe", payload: { query, variables } })
  }

  hear(): Promise<Message> {
    const message = this.#messages.shift()
    if (message !== undefined) return Promise.resolve(message)
    return new Promise((resolve) => this.#readers.push(resolve))
  }

  /** The next message that is not a ping. */
  async answer(): Promise<Message> {
    const message = await this.hear()
    return message.type === "ping" ? this.answer() : message
  }

  /** What the next events say, by the subscription's id. */
  async changes(count: number): Promise<Readonly<Record<string, ReadonlyArray<unknown>>>> {
    const changes: Record<string, Array<unknown>> = {}
    for (let heard = 0; heard < count; heard++) {
      const { id = "", payload } = await this.answer()
      const said = changes[id] ?? []
      changes[id] = said
      said.push(Object.values(payload?.data ?? {})[0])
    }
    return changes
  }

  /** The positions of the next events. */
  async positions(count: number): Promise<ReadonlyArray<unknown>> {
    const positions: Array<unknown> = []
    while (positions.length < count) {
      const { payload } = await this.answer()
      positions.push(Object.values(payload?.data ?? {})[0]?.position)
    }
    return positions
  }
}

/** Connected and acknowledged. */
export const connect = async (url: string, principal: Principal, token: string = principal.id): Promise<RawClient> => {
  const client = await new RawClient(url).opened()
  client.say({ type: "connection_init", payload: { authorization: `Bearer ${token}` } })
  await client.hear()
  return client
}
