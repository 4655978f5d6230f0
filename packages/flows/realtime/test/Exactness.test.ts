// The law of the feed: what a subscriber receives is what it may read of the log, each event once and in order. Over random logs, in which tickets
// change hands and requesters; over two gateways that lag, lose their broker, forget, restart and let events out of their window; over clients that
// are cut off, slow, come back anywhere, and come back as somebody else or in another role. Whose place is gone reads a snapshot, which says
// where it stands, and goes on from there. The gateways are the real feed, window, catching up and encoding on a broker in memory.
import { describe, expect, it } from "@effect/vitest"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position, PrincipalId } from "@holdfast/contracts/Ids"
import { Principal } from "@holdfast/contracts/Principal"
import { TicketStatus } from "@holdfast/contracts/ticket/Status"
import { Effect, Exit, Latch, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import { catchUp } from "../src/CatchUp.ts"
import { makeFeed, runFeed } from "../src/Feed.ts"
import { Hub, type Operation, type Sink, type Subscription } from "../src/Hub.ts"
import { parseDocument, prepareSubscription } from "../src/Operations.ts"
import { BrokerDouble } from "./BrokerDouble.ts"
import { agent, customer, envelope, fileId, otherAgent, otherCustomer, ticketId } from "./Events.ts"

const bounds = {
  eventsMax: 30,
  bytesMax: 1e9,
  ageMsMax: 1,
  catchUpEventsMax: 3,
  catchUpBufferedBytesMax: 100,
  catchUpMsMax: 1000,
  encodedBytesMax: 2000
}

/** Two of them were others before: an agent who has left the team, a customer who has joined it. */
const people = [
  agent,
  otherAgent,
  customer,
  otherCustomer,
  Principal.make({ id: agent.id, role: "customer" }),
  Principal.make({ id: customer.id, role: "agent" })
] as const

type Facts = Envelope["visibility"]["after"]
type List = "all" | "open" | "mine"

/** The rules once more, in as few words as they have, for the product's own to be judged by. */
const mayRead = ({ id, role }: Principal, { visibility }: Envelope): boolean =>
  role === "agent" || (visibility.requesterId === id && visibility.audience === "public")

const isListed = (list: List, facts: Facts, { id, role }: Principal): boolean => {
  if (facts === null || (role !== "agent" && facts.requesterId !== id)) return false
  const isUnsolved = facts.status !== "solved" && facts.status !== "closed"
  return list === "all" || (isUnsolved && (list === "open" || facts.assigneeId === id))
}

interface Topic {
  readonly operation: Operation
  readonly isAbout: (event: Envelope, reader: Principal) => boolean
}

const topic = async (query: string, isAbout: Topic["isAbout"]): Promise<Topic> => {
  const operation = await prepareSubscription(parseDocument(query), { query })
  if (!("interest" in operation)) throw new Error("the document is sound")
  return { operation, isAbout }
}

const ofTicket = (n: number) =>
  topic(
    `subscription { ticketChanged(id: "${ticketId(n)}") { position type body } }`,
    ({ streamId }) => String(streamId) === ticketId(n)
  )
const ofList = (list: List) =>
  topic(
    `subscription { ticketListChanged(list: ${list}) { position type change } }`,
    ({ streamType, visibility: { after, before } }, reader) =>
      streamType === "ticket" && (isListed(list, before, reader) || isListed(list, after, reader))
  )
const ofFile = (n: number) =>
  topic(
    `subscription { fileProgress(id: "${fileId(n)}") { position type tool { name } } }`,
    ({ streamId }) => String(streamId) === fileId(n)
  )
const topics = await Promise.all([ofTicket(0), ofTicket(1), ofList("all"), ofList("open"), ofList("mine"), ofFile(0)])

/** As one reader, from a position: what comes after it is owed, and nothing else. */
interface Stretch {
  readonly reader: Principal
  readonly from: number
  readonly received: Array<number>
  /** The subscriber's cursor when it ended; null while it goes on. */
  to: number | null
}

class Subscriber implements Sink {
  readonly topic: Topic
  readonly stretches: Array<Stretch> = []
  bufferedBytes = 0
  cursor = 0
  isGone = false
  attached: { readonly hub: Hub; readonly subscription: Subscription } | null = null

  constructor(topic: Topic, reader: Principal) {
    this.topic = topic
    this.#begin(reader, 0)
  }

  get #stretch(): Stretch {
    const last = this.stretches.at(-1)
    if (last === undefined) throw new Error("there is one from the beginning on")
    return last
  }

  #begin(reader: Principal, from: number): void {
    const last = this.stretches.at(-1)
    if (last !== undefined) last.to = this.cursor
    this.cursor = from
    this.stretches.push({ reader, from, received: [], to: null })
  }

  send(encoded: Uint8Array): void {
    const { data, extensions } = JSON.parse(new TextDecoder().decode(encoded))
    const [change] = Object.values<{ readonly position: number }>(data)
    expect(change?.position).toBe(extensions.feed.position)
    this.cursor = extensions.feed.position
    this.#stretch.received.push(this.cursor)
  }

  fail(): void {
    this.attached = null
    this.isGone = true
  }

  overrun(): void {
    this.attached = null
  }

  connect(hub: Hub, nowMs: number, snapshotAt: number): void {
    this.disconnect()
    if (this.isGone) this.#begin(this.#stretch.reader, snapshotAt)
    this.isGone = false
    const operation = { ...this.topic.operation, after: Position.make(this.cursor) }
    const subscription = hub.attach(operation, this.#stretch.reader, this, nowMs)
    if (!this.isGone) this.attached = { hub, subscription }
  }

  disconnect(): void {
    this.attached?.hub.detach(this.attached.subscription)
    this.attached = null
  }

  /** Its token has ended; it comes back with another. */
  become(reader: Principal): void {
    this.disconnect()
    this.#begin(reader, this.cursor)
  }

  /** What a ping tells it: where the feed is, if it has everything up to there. */
  hearPing(): void {
    if (this.attached?.subscription.isLive === true) this.cursor = this.attached.hub.window.head ?? this.cursor
  }
}

/** Which type may be read by whom is for Interest.test.ts; here a few do, so that most concern somebody. */
const types = ["TicketOpened", "TicketReplied", "NoteAdded", "TicketAssigned", "FileReleased"] as const
const half = Schema.Literals([0, 1])
const seat = Schema.Literals([0, 1, 2, 3, 4, 5])
const Publish = Schema.Struct({
  do: Schema.Literal("publish"),
  type: Schema.Literals(types),
  count: Schema.Literals([1, 4]),
  stream: half,
  isInternal: Schema.Boolean,
  status: TicketStatus,
  assignee: Schema.NullOr(Schema.Literals([agent.id, otherAgent.id])),
  requester: Schema.Literals([customer.id, otherCustomer.id, agent.id])
})
const Advance = Schema.Struct({ do: Schema.Literal("advance"), gateway: half, count: Schema.Literals([1, 3, 9]) })
const Connect = Schema.Struct({ do: Schema.Literal("connect"), gateway: half, seat })
const Turn = Schema.Struct({ do: Schema.Literal("turn"), count: Schema.Literals([1, 3]) })
/** What makes events flow comes more often than what hinders them. */
const Step = Schema.Union([
  Publish,
  Publish,
  Publish,
  Publish,
  Advance,
  Advance,
  Advance,
  Connect,
  Connect,
  Connect,
  Connect,
  Turn,
  Turn,
  Schema.Struct({ do: Schema.Literal("disconnect"), seat }),
  Schema.Struct({ do: Schema.Literal("become"), seat, person: seat }),
  Schema.Struct({ do: Schema.Literal("slow"), seat, bytes: Schema.Literals([0, 500]) }),
  Schema.Struct({ do: Schema.Literal("ping"), seat }),
  Schema.Struct({ do: Schema.Literal("lose"), gateway: half }),
  Schema.Struct({ do: Schema.Literal("find"), gateway: half }),
  Schema.Struct({ do: Schema.Literal("forget"), gateway: half, kept: Schema.Literals([0, 9, 25]) }),
  Schema.Struct({ do: Schema.Literal("expire"), gateway: half, kept: Schema.Literals([0, 9, 25]) }),
  Schema.Struct({ do: Schema.Literal("restart"), gateway: half }),
  Schema.Struct({ do: Schema.Literal("project"), count: Schema.Literals([1, 5, 50]) }),
  Schema.Struct({ do: Schema.Literal("wait") })
])
type Step = typeof Step.Type

const turn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

/** A gateway's moving parts, without its sockets. */
class Copy {
  readonly broker = new BrokerDouble()
  hub = new Hub(bounds, () => undefined)
  nowMs = () => 0
  seen = 0
  #scope = Scope.makeUnsafe()

  start = Effect.gen({ self: this }, function* () {
    yield* Scope.close(this.#scope, Exit.void)
    this.#scope = Scope.makeUnsafe()
    const wake = yield* Latch.make(false)
    const hub = new Hub(bounds, () => wake.openUnsafe())
    const feed = yield* makeFeed(hub)
    const run = runFeed(hub, { stateChanged: () => undefined, broken: () => expect.unreachable("the feed broke") })
    yield* Effect.forkIn(Effect.provide(run, this.broker.layer), this.#scope)
    yield* Effect.forkIn(catchUp(hub, feed, wake), this.#scope)
    this.hub = hub
    this.nowMs = feed.nowMs
  })

  stop = Effect.suspend(() => Scope.close(this.#scope, Exit.void))
}

class World {
  readonly log: Array<Envelope> = []
  readonly copies = [new Copy(), new Copy()] as const
  readonly subscribers = topics.map((topic, index) => new Subscriber(topic, people[index % people.length] ?? agent))
  readonly #facts: [Facts, Facts] = [null, null]
  /** How far the views are that snapshots are read from. */
  projected = 0

  start = Effect.forEach(this.copies, ({ start }) => start)
  stop = Effect.forEach(this.copies, ({ stop }) => stop)

  publish({ assignee, isInternal, requester, status, stream, type }: Extract<Step, { readonly do: "publish" }>): void {
    const position = this.log.length + 1
    const facts = { status, assigneeId: assignee, requesterId: PrincipalId.make(requester) }
    const plain = envelope({ type, position, stream, occurredAtMs: position * 1000 })
    const before = plain.streamType === "ticket" ? this.#facts[stream] : null
    const after = plain.streamType === "ticket" ? facts : null
    if (after !== null) this.#facts[stream] = after
    const audience = isInternal ? "internal" : plain.visibility.audience
    this.log.push({ ...plain, visibility: { audience, requesterId: facts.requesterId, before, after } })
  }

  advance(copy: Copy, count: number): void {
    const next = this.log.slice(copy.seen, copy.seen + count)
    copy.seen += next.length
    copy.broker.publish(...next)
  }

  connect(subscriber: Subscriber, { hub, nowMs }: Copy): void {
    subscriber.connect(hub, nowMs(), this.projected)
  }

  #subscriber(index: number): Subscriber {
    const subscriber = this.subscribers[index]
    if (subscriber === undefined) throw new Error("there is one for each topic")
    return subscriber
  }

  #do(step: Exclude<Step, { readonly do: "turn" | "wait" | "restart" }>): unknown {
    switch (step.do) {
      case "publish":
        for (let count = 0; count < step.count; count++) this.publish(step)
        return
      case "advance":
        return this.advance(this.copies[step.gateway], step.count)
      case "connect":
        return this.connect(this.#subscriber(step.seat), this.copies[step.gateway])
      case "disconnect":
        return this.#subscriber(step.seat).disconnect()
      case "become":
        return this.#subscriber(step.seat).become(people[step.person])
      case "slow":
        this.#subscriber(step.seat).bufferedBytes = step.bytes
        return
      case "ping":
        return this.#subscriber(step.seat).hearPing()
      case "lose":
        return this.copies[step.gateway].broker.lose()
      case "find":
        this.copies[step.gateway].broker.isAway = false
        return
      case "forget": {
        const { broker, seen } = this.copies[step.gateway]
        broker.retainedFrom = Math.max(broker.retainedFrom, seen - step.kept)
        return
      }
      case "expire": {
        const { hub } = this.copies[step.gateway]
        return hub.expire(((hub.window.head ?? 0) - step.kept + 1) * 1000)
      }
      case "project":
        this.projected = Math.min(this.log.length, this.projected + step.count)
        return
    }
  }

  step(step: Step): Effect.Effect<unknown> {
    switch (step.do) {
      case "turn":
        return Effect.repeat(turn, { times: step.count - 1 })
      case "wait":
        return TestClock.adjust("3 seconds")
      case "restart":
        return this.#restart(this.copies[step.gateway])
      default:
        return Effect.sync(() => this.#do(step))
    }
  }

  #restart(copy: Copy): Effect.Effect<void> {
    for (const subscriber of this.subscribers) if (subscriber.attached?.hub === copy.hub) subscriber.disconnect()
    return copy.start
  }

  /** Nothing fails any more, and everybody comes back until they are live. */
  settle = Effect.gen({ self: this }, function* () {
    this.publish({
      do: "publish",
      type: "TicketReplied",
      count: 1,
      stream: 0,
      isInternal: false,
      status: "open",
      assignee: null,
      requester: customer.id
    })
    for (const subscriber of this.subscribers) subscriber.bufferedBytes = 0
    for (const copy of this.copies) {
      copy.broker.isAway = false
      this.advance(copy, this.log.length)
    }
    for (let tries = 0; !this.#isSettled(); tries++) {
      if (tries > 50) throw new Error("it does not come to rest")
      if (tries > 2) this.projected = this.log.length
      yield* TestClock.adjust("3 seconds")
      yield* Effect.repeat(turn, { times: 3 })
      for (const [index, subscriber] of this.subscribers.entries()) {
        if (subscriber.attached === null) this.connect(subscriber, this.copies[index % 2 === 0 ? 0 : 1])
      }
    }
  })

  #isSettled(): boolean {
    const isLive = ({ hub }: Copy) => hub.state === "live" && hub.window.head === this.log.length
    return this.copies.every(isLive) && this.subscribers.every(({ attached }) => attached?.subscription.isLive === true)
  }

  owed({ from, reader, to }: Stretch, { isAbout }: Topic): ReadonlyArray<number> {
    return this.log
      .slice(from, to ?? this.log.length)
      .filter((event) => mayRead(reader, event) && isAbout(event, reader))
      .map(({ position }) => position)
  }
}

describe("a subscriber", () => {
  const seen = { events: 0, snapshots: 0, switches: 0 }

  it.effect.prop(
    "receives what it may read of the log, each event once and in order, whatever happens",
    [Schema.Array(Step).check(Schema.isBetweenLength(150, 250))],
    ([steps]) =>
      Effect.gen(function* () {
        const world = new World()
        yield* world.start
        for (const step of steps) yield* world.step(step)
        yield* world.settle
        yield* world.stop
        for (const { stretches, topic } of world.subscribers) {
          for (const [index, stretch] of stretches.entries()) {
            expect(stretch.received).toEqual(world.owed(stretch, topic))
            const isSame = stretches[index - 1]?.reader === stretch.reader
            seen.events += stretch.received.length
            seen[isSame ? "snapshots" : "switches"] += 1
          }
        }
      }),
    { arbitrary: { runs: 40 } }
  )

  it("was driven into every trouble by that", () => {
    expect(seen.events).toBeGreaterThan(200)
    expect(seen.snapshots).toBeGreaterThan(20)
    expect(seen.switches).toBeGreaterThan(200)
  })
})
