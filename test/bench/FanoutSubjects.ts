// What the fan-out bench and the compression bench measure: a realtime gateway with doubles behind it, and a bare `ws` server that sends the
// same bytes.
import { createServer, type Server } from "node:http"
import type { Socket } from "node:net"
import { setTimeout as delay } from "node:timers/promises"
import { atPresent, Broker, type Change } from "@holdfast/broker/Broker"
import { Signals } from "@holdfast/broker/Signals"
import { Envelope } from "@holdfast/contracts/Envelope"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { Principal } from "@holdfast/contracts/Principal"
import { GraphqlExecutor } from "@holdfast/contracts/wire/GraphqlExecutor"
import { Identity } from "@holdfast/identity/Identity"
import { Gateway, layer } from "@holdfast/realtime/Gateway"
import { takeUpgrades } from "@holdfast/realtime/Upgrade"
import { Context, Effect, Exit, Layer, Queue, Redacted, Schema, Scope, Stream } from "effect"
import { type PerMessageDeflateOptions, WebSocket, WebSocketServer } from "ws"
import type { FanoutOrder } from "./fanout.clients.ts"

const fields = `position eventId type occurredAt actor { id name } ticketId streamVersion change status assigneeId requesterId audience messageId body`
const ticket = "0a000000-0000-7000-8000-000000000000"
const subscribe = JSON.stringify({
  id: "00000000-0000-4000-8000-00000000#",
  type: "subscribe",
  payload: { query: `subscription($id: ID!) { ticketChanged(id: $id) { ${fields} } }`, variables: { id: ticket } }
})
// The pong shows that what was said before it has been heard.
const greetings = [
  JSON.stringify({ type: "connection_init", payload: { authorization: "Bearer agent-#" } }),
  subscribe,
  JSON.stringify({ type: "ping" })
]

const agent = Principal.make({ id: PrincipalId.make("agent-1"), role: "agent", name: "Ada Lovelace" })
/** A thousand people: one person may not have so many sockets. */
const verify = (token: Redacted.Redacted<string>) =>
  Effect.succeed({
    principal: Principal.make({ id: PrincipalId.make(Redacted.value(token)), role: "agent" }),
    expiresAtSeconds: 1e12
  })
const decode = Schema.decodeUnknownSync(Envelope)
const facts = { status: "open", assigneeId: "agent-1", requesterId: "customer-1" }
const eventAt = (position: number): Envelope => {
  const uuid = (kind: string) => `0${kind}000000-0000-7000-8000-${String(position).padStart(12, "0")}`
  return decode({
    eventId: uuid("b"),
    streamType: "ticket",
    streamId: ticket,
    streamVersion: position + 1,
    schemaVersion: 1,
    position,
    occurredAt: "2026-11-22T22:00:00.000Z",
    principal: agent,
    commandId: uuid("c"),
    correlationId: uuid("d"),
    causationId: null,
    traceparent: null,
    visibility: { audience: "public", requesterId: "customer-1", before: facts, after: facts },
    event: { _tag: "TicketReplied", ticketId: ticket, messageId: uuid("e"), body: "The printer is back. ".repeat(12) }
  })
}

/** A server under test: `send` gives one event to every socket. */
export interface Subject {
  readonly order: Omit<FanoutOrder, "sockets">
  readonly send: () => void
  /** Bytes written to every socket so far. */
  readonly written: () => number
  readonly stop: () => Promise<void>
}

/** How many bytes a server has written to its sockets, the closed ones included. */
const countWritten = (server: Server): (() => number) => {
  const sockets = new Set<Socket>()
  server.on("connection", (socket) => sockets.add(socket))
  return () => [...sockets].reduce((sum, { bytesWritten }) => sum + bytesWritten, 0)
}

const listen = (server: Server): Promise<string> =>
  new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve(`ws://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/graphql`)
    })
  })

export const gatewaySubject = async (): Promise<Subject> => {
  const feed = Effect.runSync(Queue.unbounded<Change>())
  const doubles = Layer.mergeAll(
    Layer.succeed(
      Broker,
      Broker.of({ publish: () => Effect.void, consume: () => Stream.never, changes: () => Stream.fromQueue(feed) })
    ),
    Layer.succeed(Signals, Signals.of({ publish: () => Effect.void, received: Stream.never })),
    Layer.succeed(Identity, Identity.of({ verify })),
    Layer.succeed(GraphqlExecutor, GraphqlExecutor.of({ execute: () => Effect.succeed({}) }))
  )
  const scope = Effect.runSync(Scope.make())
  const everyone = layer({ allowedOrigins: [] }).pipe(Layer.provide(doubles))
  const gateway = Context.get(await Effect.runPromise(Layer.buildWithScope(everyone, scope)), Gateway)
  const server = createServer()
  const written = countWritten(server)
  takeUpgrades(server, (request, socket, head) => gateway.handleUpgrade(request, socket, head))
  const url = await listen(server)
  let position = 0
  const send = () => Queue.offerUnsafe(feed, eventAt(++position))
  send()
  Queue.offerUnsafe(feed, atPresent)
  while (!(await live(gateway))) await delay(50)
  return {
    order: { url, greetings, answers: 2 },
    send,
    written,
    stop: async () => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      server.close()
    }
  }
}

const live = async (gateway: Gateway["Service"]) => (await Effect.runPromise(gateway.status)).feed.state === "live"

export const bareSubject = async (
  frame: () => Buffer,
  perMessageDeflate: PerMessageDeflateOptions | false = false
): Promise<Subject> => {
  const server = createServer()
  const written = countWritten(server)
  const all = new WebSocketServer({ server, perMessageDeflate })
  const url = await listen(server)
  return {
    order: { url, greetings: [], answers: 0 },
    send: () => {
      const bytes = frame()
      for (const socket of all.clients) socket.send(bytes, { binary: false })
    },
    written,
    stop: async () => {
      for (const socket of all.clients) socket.terminate()
      server.close()
    }
  }
}

/** The bytes of one event as a gateway sends them. */
export const frameOf = async ({ order, send }: Subject): Promise<Buffer> => {
  const socket = new WebSocket(order.url, "graphql-transport-ws")
  await new Promise((resolve) => socket.once("open", resolve))
  const said = order.greetings.map((greeting) => greeting.replaceAll("#", "0000"))
  for (const greeting of said) {
    socket.send(greeting)
    if (!greeting.includes("subscribe")) await new Promise((resolve) => socket.once("message", resolve))
  }
  const frame = new Promise<Buffer>((resolve) => socket.once("message", (data) => resolve(Buffer.from(String(data)))))
  send()
  const bytes = await frame
  socket.terminate()
  return bytes
}
