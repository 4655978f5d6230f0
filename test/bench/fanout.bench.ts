// One event to 1 000 subscribers through the realtime gateway, against a bare `ws` server that sends the same bytes to as many sockets. Both
// serve from this process in turn, the clients live in another. Two figures: the time until the last socket has one event, and
// how many deliveries a second the server makes of many events.
import { type ChildProcess, fork } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import { Session } from "node:inspector/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { Broker } from "@holdfast/broker/Broker"
import { Signals } from "@holdfast/broker/Signals"
import { Envelope } from "@holdfast/contracts/Envelope"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { Principal } from "@holdfast/contracts/Principal"
import { GraphqlExecutor } from "@holdfast/contracts/wire/GraphqlExecutor"
import { Identity } from "@holdfast/identity/Identity"
import { Gateway, layer } from "@holdfast/realtime/Gateway"
import { takeUpgrades } from "@holdfast/realtime/Upgrade"
import { Context, Effect, Exit, Layer, Queue, Redacted, Schema, Scope, Stream } from "effect"
import { WebSocket, WebSocketServer } from "ws"
import type { FanoutOrder, FromClients, ToClients } from "./fanout.clients.ts"
import { type Naming, profileParts } from "./Profile.ts"
import { median, rounded, table, writeSection } from "./Report.ts"

const sockets = 1000
const rounds = 30
const burst = 40
const runs = 3

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
interface Subject {
  readonly order: Omit<FanoutOrder, "sockets">
  readonly send: () => void
  readonly stop: () => Promise<void>
}

const listen = (server: Server): Promise<string> =>
  new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve(`ws://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/graphql`)
    })
  })

const gatewaySubject = async (): Promise<Subject> => {
  const feed = Effect.runSync(Queue.unbounded<Envelope>())
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
  takeUpgrades(server, (request, socket, head) => gateway.handleUpgrade(request, socket, head))
  const url = await listen(server)
  let position = 0
  const send = () => Queue.offerUnsafe(feed, eventAt(++position))
  send()
  while (!(await live(gateway))) await delay(50)
  return {
    order: { url, greetings, answers: 2 },
    send,
    stop: async () => {
      await Effect.runPromise(Scope.close(scope, Exit.void))
      server.close()
    }
  }
}

const live = async (gateway: Gateway["Service"]) => (await Effect.runPromise(gateway.status)).feed.state === "live"

const bareSubject = async (frame: Buffer): Promise<Subject> => {
  const server = createServer()
  const all = new WebSocketServer({ server, perMessageDeflate: false })
  const url = await listen(server)
  return {
    order: { url, greetings: [], answers: 0 },
    send: () => {
      for (const socket of all.clients) socket.send(frame, { binary: false })
    },
    stop: async () => {
      for (const socket of all.clients) socket.terminate()
      server.close()
    }
  }
}

/** The bytes of one event as a gateway sends them. */
const frameOf = async ({ order, send }: Subject): Promise<Buffer> => {
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

const tell = (child: ChildProcess, message: ToClients) =>
  new Promise<FromClients>((resolve) => {
    child.once("message", (answer: FromClients) => resolve(answer))
    child.send(message)
  })

const heard = (child: ChildProcess) =>
  new Promise<FromClients>((resolve) => child.once("message", (answer: FromClients) => resolve(answer)))

interface Figures {
  /** Milliseconds until the last socket has one event, median of the rounds. */
  readonly lastMs: number
  readonly deliveriesPerSecond: number
  /** Processor time of this process per delivery, in the burst. Microseconds. */
  readonly cpuUs: number
}

const measure = async (subject: Subject): Promise<Figures> => {
  const child = fork(join(import.meta.dirname, "fanout.clients.ts"))
  const order = { ...subject.order, sockets }
  if (order.answers > 0) await tell(child, { order })
  else {
    child.send({ order } satisfies ToClients)
    await delay(1500)
  }
  await timed(child, subject, burst)
  const single: Array<number> = []
  for (let round = 0; round < rounds; round++) single.push((await timed(child, subject, 1)).ms)
  const cpu = process.cpuUsage()
  const many = await timed(child, subject, burst)
  const { system, user } = process.cpuUsage(cpu)
  child.disconnect()
  await new Promise((resolve) => child.once("exit", resolve))
  const deliveries = burst * sockets
  return {
    lastMs: median(single),
    deliveriesPerSecond: Math.round((deliveries * 1000) / many.ms),
    cpuUs: (system + user) / deliveries
  }
}

/** Sends events one turn of the loop after the other; the time from the first to the last receipt of all. */
const timed = async (child: ChildProcess, { send }: Subject, events: number) => {
  await tell(child, { expect: events })
  const done = heard(child)
  const startedAt = process.hrtime.bigint()
  for (let event = 0; event < events; event++) {
    send()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const answer = await done
  if (!("receivedAt" in answer)) throw new Error("the clients answered out of turn")
  return { ms: Number(BigInt(answer.receivedAt) - startedAt) / 1e6 }
}

const measured = async (subject: Subject): Promise<Figures> => {
  try {
    return await measure(subject)
  } finally {
    await subject.stop()
  }
}

const naming: Naming = [
  ["Holdfast", /\/packages\//],
  ["ws", /\/ws\//],
  ["GraphQL", /\/graphql/],
  ["Effect", /\/effect\//],
  ["Node's own streams and sockets", /^node:/]
]

/** Where the gateway's time goes, in a run that is not counted. */
const profiled = async (): Promise<string> => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"))
  const session = new Session()
  session.connect()
  await session.post("Profiler.enable")
  await session.post("Profiler.start")
  await measured(await gatewaySubject())
  const { profile } = await session.post("Profiler.stop")
  session.disconnect()
  writeFileSync(join(folder, "fanout.cpuprofile"), JSON.stringify(profile))
  const parts = profileParts(folder, naming)
  rmSync(folder, { recursive: true })
  return table(
    ["part", "share of the busy time (%)"],
    parts.map(({ name, share }) => [name, Math.round(share * 100)])
  )
}

const report = (gateway: ReadonlyArray<Figures>, bare: ReadonlyArray<Figures>, bytes: number, parts: string): void => {
  const figure = (name: string, unit: keyof Figures, isLessBetter: boolean) => {
    const [ours, theirs] = [median(gateway.map((one) => one[unit])), median(bare.map((one) => one[unit]))]
    return [name, rounded(ours), rounded(theirs), rounded(isLessBetter ? theirs / ours : ours / theirs)]
  }
  const figures = [
    figure(`one event until the last of ${sockets} sockets has it (ms)`, "lastMs", true),
    figure(`${burst} events in a row, deliveries a second`, "deliveriesPerSecond", false),
    figure("processor time of the server for one delivery (µs)", "cpuUs", true)
  ]
  writeSection({
    name: "fanout",
    title: "Realtime: one event to 1 000 sockets",
    body: `The gateway from the broker's event to the socket: permission check, selection of fields, encoding, and a frame per subscriber with
its own subscription id, for ${sockets} people with the same subscription. The ceiling is a bare \`ws\` server that sends the same ${bytes} bytes
from one buffer. The clients are in another process; gateway and bare server alternate, median of ${runs} runs (the first figure: of the
medians of ${rounds} events each).

${table(["", "gateway", "bare ws", "ratio"], figures)}

Where the time of the gateway's process goes, with connecting and subscribing:

${parts}`
  })
}

const first = await gatewaySubject()
const frame = await frameOf(first)
await first.stop()
const gateway: Array<Figures> = []
const bare: Array<Figures> = []
for (let run = 0; run < runs; run++) {
  gateway.push(await measured(await gatewaySubject()))
  bare.push(await measured(await bareSubject(frame)))
}
report(gateway, bare, frame.byteLength, await profiled())
