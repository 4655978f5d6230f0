// People who watch: a list, a ticket, a file. Each keeps a cursor, comes back to any gateway after every break, and writes down what it was given,
// so that it can be held against the log: exactly the events that it may see, each once, in order, from its cursor on.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { TicketListName } from "@holdfast/contracts/ticket/Views"
import { changeFor, type Interest } from "@holdfast/realtime/Interest"
import { Context } from "effect"
import { type Clients, people } from "./Clients.ts"
import type { Desk } from "./Desk.ts"
import type { Mutation } from "./Mutation.ts"
import { type Connection, SimulatedGateway } from "./SimulatedGateway.ts"

/** What was watched without a loss of the cursor. */
interface Stretch {
  /** Null: from when it began, which only the first event tells. */
  readonly from: Position | null
  readonly got: Array<Position>
}

class Subscriber {
  readonly principal: Principal
  readonly interest: Interest
  readonly stretches: Array<Stretch> = []
  cursor: Position | null
  connection: Connection | null = null
  /** Which attempt to connect is the latest. */
  attempt = 0
  readonly isSlow: boolean

  constructor(principal: Principal, interest: Interest, cursor: Position | null, isSlow: boolean) {
    this.principal = principal
    this.interest = interest
    this.cursor = cursor
    this.isSlow = isSlow
    this.stretches.push({ from: cursor, got: [] })
  }

  get stretch(): Stretch | undefined {
    return this.stretches.at(-1)
  }
}

export class Subscribers {
  readonly #desk: Desk
  readonly #clients: Clients
  readonly #mutation: Mutation
  readonly #all: Array<Subscriber> = []

  constructor(desk: Desk, clients: Clients, mutation: Mutation) {
    this.#desk = desk
    this.#clients = clients
    this.#mutation = mutation
  }

  /** Somebody begins to watch something. */
  add(): void {
    const { seed } = this.#desk.world
    const principal = seed.pick(people)
    const cursor = seed.chance(0.3)
      ? null
      : Position.make(seed.chance(0.5) ? 0 : this.#desk.servers.core.positioned.length)
    const subscriber = new Subscriber(principal, this.#interest(), cursor, seed.chance(0.15))
    this.#all.push(subscriber)
    this.#connect(subscriber)
  }

  /** Some line breaks, or somebody reloads the page. */
  disturb(): void {
    const { seed } = this.#desk.world
    if (this.#all.length === 0) return
    const subscriber = seed.pick(this.#all)
    if (subscriber.connection === null) return
    this.#desk.world.coverage.hit("subscriber cut off")
    this.#drop(subscriber)
    this.#connectLater(subscriber)
  }

  #interest(): Interest {
    const { seed } = this.#desk.world
    const { files, tickets } = this.#clients
    if (tickets.length > 0 && seed.chance(0.35)) return { _tag: "Ticket", id: seed.pick(tickets).id }
    if (files.length > 0 && seed.chance(0.3)) return { _tag: "File", id: seed.pick(files).id }
    return { _tag: "TicketList", list: seed.pick(TicketListName.literals) }
  }

  #connectLater(subscriber: Subscriber): void {
    const { world } = this.#desk
    world.after(20 + world.seed.next() * 400, () => this.#connect(subscriber))
  }

  #drop(subscriber: Subscriber): void {
    subscriber.attempt++
    subscriber.connection?.close()
    subscriber.connection = null
  }

  #connect(subscriber: Subscriber): void {
    if (subscriber.connection !== null) return
    const { seed } = this.#desk.world
    const { serving } = seed.pick(this.#desk.gateways)
    if (serving === null || serving.process.state !== "running") {
      this.#connectLater(subscriber)
      return
    }
    this.#drop(subscriber)
    const { attempt } = subscriber
    const isCurrent = () => subscriber.attempt === attempt
    const latencyMs = () => (subscriber.isSlow ? 50 : 1) + seed.next() * (subscriber.isSlow ? 400 : 15)
    const { cursor } = subscriber
    const after = cursor === null ? null : (this.#mutation.resumeAfter?.(cursor) ?? cursor)
    if (cursor !== null && cursor > 0) this.#desk.world.coverage.hit("subscription resumed")
    serving.process.post(() => {
      if (!isCurrent()) return
      subscriber.connection = Context.get(serving.services, SimulatedGateway).connect(
        subscriber.principal,
        subscriber.interest,
        after,
        latencyMs,
        {
          next: (payload) => {
            if (isCurrent()) this.#next(subscriber, payload)
          },
          resync: () => {
            if (isCurrent()) this.#resync(subscriber)
          },
          closed: () => {
            if (!isCurrent()) return
            this.#drop(subscriber)
            this.#connectLater(subscriber)
          }
        }
      )
    })
    // The process may die before it comes to it.
    this.#desk.world.after(1_000, () => {
      if (isCurrent() && subscriber.connection === null) this.#connect(subscriber)
    })
  }

  #next(subscriber: Subscriber, payload: string): void {
    this.#desk.ledger.shown(subscriber.principal, payload, "a subscription")
    const position = Position.make(Number(/"position":(\d+)/.exec(payload)?.[1]))
    const last = subscriber.cursor ?? position - 1
    if (String(this.#wanted(subscriber, last, position)) !== String(position))
      this.#violate(subscriber, `${position} after ${last}`)
    subscriber.stretch?.got.push(position)
    subscriber.cursor = position
    this.#desk.world.coverage.hit("subscription event")
  }

  /** Reads a snapshot, whose answer carries its position, and goes on from there. */
  #resync(subscriber: Subscriber): void {
    this.#desk.world.coverage.hit("resync")
    const { core, read } = this.#desk.servers
    const hasViews = this.#desk.plan.parts.includes("views")
    const position = Position.make(hasViews ? read.reached.position : core.positioned.length)
    subscriber.cursor = position
    subscriber.stretches.push({ from: position, got: [] })
    this.#drop(subscriber)
    this.#connectLater(subscriber)
  }

  #violate(subscriber: Subscriber, detail: string): void {
    const what = `${subscriber.principal.id} on ${JSON.stringify(subscriber.interest)}`
    this.#desk.world.violate("subscriptions exact", `${what}: ${detail}`)
  }

  /** Whether everybody has everything. */
  get areCurrent(): boolean {
    return this.#all.every((subscriber) => {
      const { stretch } = subscriber
      const from = stretch === undefined ? null : startOf(stretch)
      return from === null || stretch?.got.length === this.#wanted(subscriber, from).length
    })
  }

  #wanted({ interest, principal }: Subscriber, from: number, to?: number): ReadonlyArray<Position> {
    return this.#desk.servers.core.positioned
      .slice(from, to)
      .filter((envelope: Envelope) => changeFor(interest, principal, envelope) !== null)
      .map(({ position }) => position)
  }

  /** Once all is quiet: each stretch holds exactly what was to be had, the last one up to the end. */
  check(): void {
    for (const subscriber of this.#all)
      for (const [index, stretch] of subscriber.stretches.entries()) {
        const { got } = stretch
        const from = startOf(stretch)
        if (from === null) continue
        const wanted = this.#wanted(subscriber, from)
        const isLast = index === subscriber.stretches.length - 1
        const due = isLast ? wanted : wanted.slice(0, got.length)
        if (String(due) !== String(got)) this.#violate(subscriber, `from ${from} it got ${got} and not ${due}`)
      }
  }
}

/** What begins with the present begins with its first event; null: it has none yet. */
const startOf = ({ from, got }: Stretch): number | null => {
  const [first] = got
  return from ?? (first === undefined ? null : first - 1)
}
