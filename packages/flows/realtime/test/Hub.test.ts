// Each event exactly once and in order, for every subscriber, whatever happens: gateways that lag, restart and see events twice,
// clients that are cut off, slow, and come back to another gateway with the position of the last event they had.

import { describe, expect, it } from "@effect/vitest"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { Schema } from "effect"
import { round } from "../src/CatchUp.ts"
import { Hub, type Operation, type Sink, type Subscription } from "../src/Hub.ts"
import { changeFor, type Interest } from "../src/Interest.ts"
import { ResyncRequired } from "../src/ResyncRequired.ts"
import { agent, customer, envelope, eventTypes, fileId, otherCustomer, ticketId } from "./Events.ts"

const bounds = {
  eventsMax: 25,
  bytesMax: 1e9,
  ageMsMax: 1e9,
  catchUpEventsMax: 3,
  catchUpBufferedBytesMax: 100,
  catchUpMsMax: 1000,
  encodedBytesMax: 200
}

const operation = (interest: Interest, after: number | null): Operation => ({
  key: JSON.stringify(interest),
  interest,
  after: after === null ? null : Position.make(after),
  encode: ({ position }) => new TextEncoder().encode(String(position))
})

class Client implements Sink {
  readonly interest: Interest
  readonly reader: Principal
  received: Array<number> = []
  failures: Array<ResyncRequired> = []
  overruns = 0
  bufferedBytes = 0
  /** Nothing up to here is expected any more: a snapshot had it. */
  base = 0
  attached: { readonly hub: Hub; readonly subscription: Subscription } | null = null

  constructor(interest: Interest, reader: Principal) {
    this.interest = interest
    this.reader = reader
  }

  send(encoded: Uint8Array): void {
    this.received.push(Number(new TextDecoder().decode(encoded)))
  }

  fail(error: ResyncRequired): void {
    this.failures.push(error)
    this.attached = null
  }

  overrun(): void {
    this.overruns++
    this.attached = null
  }

  connect(hub: Hub, after: number | null = this.received.at(-1) ?? this.base, nowMs = 0): void {
    const failuresBefore = this.failures.length
    const subscription = hub.attach(operation(this.interest, after), this.reader, this, nowMs)
    if (this.failures.length === failuresBefore) this.attached = { hub, subscription }
  }

  disconnect(): void {
    this.attached?.hub.detach(this.attached.subscription)
    this.attached = null
  }
}

const idle = () => undefined
const liveHub = (events: ReadonlyArray<Envelope> = []) => {
  const hub = new Hub(bounds, idle)
  for (const event of events) hub.append(event)
  hub.setState("live")
  return hub
}
const settle = (hub: Hub) => {
  while (round(hub, 0).has("moved"));
}
const reply = (position: number, stream = 0) => envelope({ type: "TicketReplied", position, stream })
const replies = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => reply(from + index))
const ticket: Interest = { _tag: "Ticket", id: ticketId(0) }

const Step = Schema.Union([
  Schema.Struct({ do: Schema.Literal("publish"), type: Schema.Literals(eventTypes), stream: Schema.Literals([0, 1]) }),
  Schema.Struct({ do: Schema.Literal("advance"), gateway: Schema.Literals([0, 1]), count: Schema.Literals([1, 2, 7]) }),
  Schema.Struct({ do: Schema.Literal("repeat"), gateway: Schema.Literals([0, 1]), count: Schema.Literals([1, 5]) }),
  Schema.Struct({
    do: Schema.Literal("connect"),
    gateway: Schema.Literals([0, 1]),
    client: Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7])
  }),
  Schema.Struct({ do: Schema.Literal("disconnect"), client: Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7]) }),
  Schema.Struct({
    do: Schema.Literal("slow"),
    client: Schema.Literals([0, 1, 2, 3, 4, 5, 6, 7]),
    bytes: Schema.Literals([0, 500])
  }),
  Schema.Struct({ do: Schema.Literal("pump"), gateway: Schema.Literals([0, 1]) }),
  Schema.Struct({ do: Schema.Literal("restart"), gateway: Schema.Literals([0, 1]) })
])

interface Gateway {
  hub: Hub
  seen: number
}

class Desk {
  readonly log: Array<Envelope> = []
  readonly gateways: ReadonlyArray<Gateway> = [
    { hub: liveHub(), seen: 0 },
    { hub: liveHub(), seen: 0 }
  ]
  readonly clients = [
    new Client(ticket, agent),
    new Client(ticket, customer),
    new Client(ticket, otherCustomer),
    new Client({ _tag: "TicketList", list: "open" }, agent),
    new Client({ _tag: "TicketList", list: "all" }, customer),
    new Client({ _tag: "File", id: fileId(1) }, customer),
    new Client({ _tag: "Notifications" }, agent),
    new Client({ _tag: "Notifications" }, customer)
  ]

  gateway(index: number): Gateway {
    const gateway = this.gateways[index]
    if (gateway === undefined) throw new Error("there are two")
    return gateway
  }

  client(index: number): Client {
    const client = this.clients[index]
    if (client === undefined) throw new Error("there are eight")
    return client
  }

  advance(gateway: Gateway, count: number): void {
    const next = this.log.slice(gateway.seen, gateway.seen + count)
    for (const event of next) gateway.hub.append(event)
    gateway.seen += next.length
  }

  step(step: typeof Step.Type): void {
    switch (step.do) {
      case "publish":
        this.log.push(envelope({ type: step.type, stream: step.stream, position: this.log.length + 1 }))
        return
      case "advance":
        this.advance(this.gateway(step.gateway), step.count)
        return
      case "repeat": {
        const { hub, seen } = this.gateway(step.gateway)
        for (const event of this.log.slice(Math.max(0, seen - step.count), seen)) hub.append(event)
        return
      }
      case "connect":
        this.client(step.client).disconnect()
        this.client(step.client).connect(this.gateway(step.gateway).hub)
        return
      case "disconnect":
        this.client(step.client).disconnect()
        return
      case "slow":
        this.client(step.client).bufferedBytes = step.bytes
        return
      case "pump":
        round(this.gateway(step.gateway).hub, 0)
        return
      case "restart":
        this.restart(this.gateway(step.gateway))
        return
    }
  }

  /** It loses its sockets and loads what the broker retains. */
  restart(gateway: Gateway): void {
    for (const client of this.clients) if (client.attached?.hub === gateway.hub) client.disconnect()
    gateway.hub = liveHub(this.log.slice(Math.max(0, gateway.seen - bounds.eventsMax), gateway.seen))
  }

  /** Everybody is back and the line is quiet. Who must read afresh does, which covers everything so far. */
  finish(): void {
    for (const gateway of this.gateways) this.advance(gateway, this.log.length)
    for (const [index, client] of this.clients.entries()) {
      client.bufferedBytes = 0
      const { hub } = this.gateway(index % 2)
      if (client.attached === null) client.connect(hub)
      settle(client.attached?.hub ?? hub)
    }
  }

  expected({ interest, reader }: Client, after: number): ReadonlyArray<number> {
    const mine = this.log.filter((event) => event.position > after && changeFor(interest, reader, event) !== null)
    return mine.map(({ position }) => position)
  }
}

describe("Hub", () => {
  it.prop(
    "gives each subscriber each event exactly once, in order",
    [Schema.Array(Step).check(Schema.isBetweenLength(30, 120))],
    ([steps]) => {
      const desk = new Desk()
      for (const step of steps) desk.step(step)
      desk.finish()
      for (const client of desk.clients) {
        const expected = desk.expected(client, client.base)
        if (client.failures.length === 0) expect(client.received).toEqual(expected)
        else expect(client.received).toEqual(expected.slice(0, client.received.length))
      }
    },
    { arbitrary: { runs: 400 } }
  )

  it("shapes an event once for all who ask the same", () => {
    const hub = liveHub(replies(1, 3))
    const clients = Array.from({ length: 50 }, () => new Client(ticket, agent))
    let encodedCount = 0
    const counted: Operation = { ...operation(ticket, 3), encode: () => new Uint8Array([0x30 + ++encodedCount]) }
    for (const client of clients) hub.attach(counted, client.reader, client, 0)
    hub.append(reply(4))
    expect(encodedCount).toBe(1)
    expect(clients.every((client) => client.received.length === 1)).toBe(true)
    expect(hub.groupCount).toBe(1)
  })

  it("forgets a group with its last subscriber", () => {
    const hub = liveHub()
    const client = new Client(ticket, agent)
    client.connect(hub)
    client.disconnect()
    expect([hub.groupCount, hub.waiting.size]).toEqual([0, 0])
  })

  it("begins now without a cursor", () => {
    const hub = liveHub(replies(1, 5))
    const client = new Client(ticket, agent)
    client.connect(hub, null)
    hub.append(reply(6))
    expect(client.received).toEqual([6])
  })

  it("refuses a cursor that the window has left behind, naming the oldest event", () => {
    const hub = liveHub(replies(1, 60))
    const client = new Client(ticket, agent)
    client.connect(hub, 20)
    expect(client.failures).toEqual([
      new ResyncRequired({ oldestPosition: Position.make(36), position: Position.make(60) })
    ])
    expect(hub.groupCount).toBe(0)
  })

  it("waits with a cursor from a little ahead, and refuses one from another desk", () => {
    const hub = liveHub(replies(1, 5))
    const ahead = new Client(ticket, agent)
    ahead.connect(hub, 7)
    for (const event of replies(6, 9)) hub.append(event)
    settle(hub)
    expect(ahead.received).toEqual([8, 9])
    const foreign = new Client(ticket, agent)
    foreign.connect(hub, 1_000_000)
    expect(foreign.failures).toHaveLength(1)
  })

  it("makes everybody read afresh after a gap that cannot be filled", () => {
    const hub = liveHub(replies(1, 5))
    const live = new Client(ticket, agent)
    const other = new Client({ _tag: "TicketList", list: "all" }, agent)
    live.connect(hub, 5)
    other.connect(hub, 5)
    hub.append(reply(9))
    settle(hub)
    expect([live.failures.length, other.failures.length, hub.groupCount]).toEqual([1, 1, 0])
    expect([live.received, hub.window.oldest]).toEqual([[], 9])
  })

  it("makes everybody read afresh when positions come to mean other events, and begins with those", () => {
    const hub = liveHub(replies(1, 5))
    const live = new Client(ticket, agent)
    const ahead = new Client(ticket, agent)
    live.connect(hub, 5)
    ahead.connect(hub, 7)
    hub.forget()
    expect([live.failures.length, ahead.failures.length, hub.window.head]).toEqual([1, 1, null])
    const again = new Client(ticket, agent)
    again.connect(hub, null)
    for (const event of replies(1, 2)) hub.append(event)
    hub.setState("live")
    settle(hub)
    expect(hub.window.head).toBe(2)
    expect(again.failures).toHaveLength(0)
  })

  it("while it loads, keeps old events from who asked for the present, and loses none that happen meanwhile", () => {
    const hub = new Hub(bounds, idle)
    const client = new Client(ticket, agent)
    client.connect(hub, null, 1000)
    hub.append(envelope({ type: "TicketReplied", position: 7, occurredAtMs: 400 }))
    hub.append(envelope({ type: "TicketReplied", position: 8, occurredAtMs: 1500 }))
    hub.append(envelope({ type: "TicketReplied", position: 9, occurredAtMs: 1400 }))
    settle(hub)
    expect(client.received).toEqual([8, 9])
    const later = new Client(ticket, agent)
    later.connect(hub, null, 2000)
    hub.setState("live")
    settle(hub)
    hub.append(envelope({ type: "TicketReplied", position: 10, occurredAtMs: 1900 }))
    expect(later.received).toEqual([10])
  })

  it("keeps a cursor through a load that has not reached it", () => {
    const hub = new Hub(bounds, idle)
    const client = new Client(ticket, agent)
    client.connect(hub, 8)
    expect(client.failures).toEqual([])
    for (const event of replies(5, 10)) hub.append(event)
    hub.setState("live")
    settle(hub)
    expect(client.received).toEqual([9, 10])
  })

  it("catches up only as fast as its client takes, and gives up on one that takes nothing", () => {
    const hub = liveHub(replies(1, 20))
    const client = new Client(ticket, agent)
    client.bufferedBytes = 101
    client.connect(hub, 0)
    expect(round(hub, 0)).toEqual(new Set(["blocked"]))
    expect(round(hub, 999)).toEqual(new Set(["blocked"]))
    expect([client.received, client.overruns]).toEqual([[], 0])
    round(hub, 1000)
    expect([client.overruns, hub.waiting.size]).toEqual([1, 0])
  })

  it("expires events by age while live, and none while the feed is stale", () => {
    const hub = new Hub({ ...bounds, ageMsMax: 1000 }, idle)
    hub.append(envelope({ type: "TicketReplied", position: 1, occurredAtMs: 0 }))
    hub.setState("live")
    hub.setState("stale")
    hub.expire(1e6)
    expect(hub.window.size).toBe(1)
    hub.setState("live")
    hub.expire(1e6)
    expect(hub.window.size).toBe(0)
  })
})
