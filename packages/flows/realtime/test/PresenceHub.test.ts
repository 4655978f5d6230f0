// The people at gateways that hear each other, in a world without clocks or sockets: what each watcher was told last is what there is, however
// signals are lost, late or repeated, once everybody was said again.
import { describe, expect, it } from "@effect/vitest"
import type { Principal } from "@holdfast/contracts/Principal"
import { Schema } from "effect"
import type { PresenceView } from "../src/Presence.ts"
import { PresenceHub, type Watching } from "../src/PresenceHub.ts"
import { readSignal, writeSignals } from "../src/PresenceSignal.ts"
import { agent, customer, otherAgent, ticketId } from "./Events.ts"

const options = {
  viewingMs: 30_000,
  writingMs: 6_000,
  announceMs: 10_000,
  roundMs: 1_000,
  ticketsMax: 100,
  peoplePerTicketMax: 100,
  peopleShownMax: 50,
  signalBytesMax: 7_500,
  sightingsPerFlushMax: 500
}
const operation = (ticket: number) => ({
  key: "shape",
  presenceOf: ticketId(ticket),
  encode: (view: PresenceView) => Buffer.from(JSON.stringify(view))
})

class World {
  nowMs = 1_000_000
  readonly hubs: ReadonlyArray<PresenceHub>
  /** Signals under way are dropped. */
  isCut = false

  constructor(gateways: number, more: Partial<typeof options> = {}) {
    this.hubs = Array.from(
      { length: gateways },
      (_, index) => new PresenceHub({ ...options, ...more, gateway: `gateway-${index}` })
    )
  }

  hub(index: number): PresenceHub {
    const hub = this.hubs[index]
    if (hub === undefined) throw new Error("there are not so many")
    return hub
  }

  /** Each gateway's flush, heard by all; then what that changes is told. */
  flush(): void {
    const texts = this.hubs.flatMap((hub) => hub.flush(this.nowMs))
    for (const text of this.isCut ? [] : texts) for (const hub of this.hubs) hub.receive(text, this.nowMs)
    for (const hub of this.hubs) hub.flush(this.nowMs)
  }

  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += 1_000) {
      this.nowMs += Math.min(1_000, ms - passed)
      this.flush()
    }
  }

  watch(index: number, reader: Principal, ticket = 0) {
    const told: Array<PresenceView> = []
    const watching = this.hub(index).watch(
      operation(ticket),
      reader,
      (encoded) => told.push(JSON.parse(Buffer.from(encoded).toString())),
      this.nowMs
    )
    return { told, leave: () => this.hub(index).unwatch(watching, this.nowMs), watching }
  }
}

const names = (view: PresenceView | undefined) => view?.people.map(({ id, state }) => `${id} ${state}`)

describe("gateways that hear each other", () => {
  it("show the people of both, and that somebody has left", () => {
    const world = new World(2)
    const ada = world.watch(0, agent)
    const bob = world.watch(1, otherAgent)
    world.flush()
    expect(names(ada.told.at(-1))).toEqual(["agent-1 viewing", "agent-2 viewing"])
    expect(names(bob.told.at(-1))).toEqual(["agent-1 viewing", "agent-2 viewing"])
    ada.leave()
    world.flush()
    expect(names(bob.told.at(-1))).toEqual(["agent-2 viewing"])
  })

  it("warn both agents who write at the same time, and end the warning when one stops or says nothing more", () => {
    const world = new World(2)
    const ada = world.watch(0, agent)
    const bob = world.watch(1, otherAgent)
    world.hub(0).type(ticketId(0), agent, "public", world.nowMs)
    world.flush()
    expect(bob.told.at(-1)).toMatchObject({ collision: false, isStaffWriting: true })
    world.hub(1).type(ticketId(0), otherAgent, "internal", world.nowMs)
    world.flush()
    expect([ada.told.at(-1)?.collision, bob.told.at(-1)?.collision]).toEqual([true, true])
    world.hub(0).type(ticketId(0), agent, null, world.nowMs)
    world.flush()
    expect(bob.told.at(-1)).toMatchObject({ collision: false, isStaffWriting: true })
    world.pass(8_000)
    expect(names(ada.told.at(-1))).toEqual(["agent-1 viewing", "agent-2 viewing"])
  })

  it("show whoever is still there for as long as it lasts, and a gateway that has died for half a minute", () => {
    const world = new World(2)
    const ada = world.watch(0, agent)
    world.watch(1, otherAgent)
    world.pass(120_000)
    expect(names(ada.told.at(-1))).toEqual(["agent-1 viewing", "agent-2 viewing"])
    world.isCut = true
    world.pass(31_000)
    expect(names(ada.told.at(-1))).toEqual(["agent-1 viewing"])
    world.isCut = false
    world.pass(11_000)
    expect(names(ada.told.at(-1))).toEqual(["agent-1 viewing", "agent-2 viewing"])
  })

  it("tell a customer that the desk writes to them, never who, nor that it writes a note", () => {
    const world = new World(2)
    const carol = world.watch(0, customer)
    const ada = world.watch(1, agent)
    world.hub(1).type(ticketId(0), agent, "internal", world.nowMs)
    world.flush()
    world.hub(1).type(ticketId(0), agent, "public", world.nowMs)
    world.flush()
    world.hub(0).type(ticketId(0), customer, "internal", world.nowMs)
    world.flush()
    const none = { ticketId: ticketId(0), people: [], collision: false }
    expect(carol.told).toEqual([
      { ...none, isStaffWriting: false },
      { ...none, isStaffWriting: true }
    ])
    expect(names(ada.told.at(-1))).toEqual(["agent-1 writing", "customer-1 writing"])
  })

  it("tell of one ticket nobody who watches another", () => {
    const world = new World(1)
    const ada = world.watch(0, agent, 0)
    world.watch(0, otherAgent, 1)
    world.flush()
    expect(ada.told).toHaveLength(1)
  })

  it("say nothing while nothing changes, and forget what is over", () => {
    const world = new World(2)
    const ada = world.watch(0, agent)
    const again = world.watch(0, agent)
    world.pass(60_000)
    expect(ada.told).toHaveLength(1)
    again.leave()
    again.leave()
    ada.leave()
    world.hub(1).type(ticketId(3), otherAgent, "public", world.nowMs)
    world.pass(60_000)
    expect(world.hubs.map(({ localCount, watcherCount }) => [localCount, watcherCount])).toEqual([
      [0, 0],
      [0, 0]
    ])
  })

  it("hold no more people than their bound, and those within it are right", () => {
    const world = new World(2, { ticketsMax: 3 })
    const all = [0, 1, 2, 3, 4].map((ticket) => world.watch(0, agent, ticket))
    world.flush()
    expect(world.hub(0).localCount).toBe(3)
    for (const one of all) one.leave()
    world.flush()
    expect(world.hub(0).localCount).toBe(0)
  })
})

const Step = Schema.Struct({
  gateway: Schema.Literals([0, 1, 2]),
  who: Schema.Literals([0, 1, 2]),
  does: Schema.Literals(["watch", "leave", "writes", "stops", "cut", "mend", "waits"])
})
const Steps = Schema.Array(Step).check(Schema.isBetweenLength(5, 60))
const everybody = [agent, otherAgent, customer]

describe("over any story", () => {
  it.prop("everybody is told what there is, once signals pass again and all were said again", [Steps], ([steps]) => {
    const world = new World(3)
    const watches: Array<{
      who: number
      gateway: number
      told: Array<PresenceView>
      watching: Watching
      leave: () => void
    }> = []
    for (const { does, gateway, who } of steps) {
      const reader = everybody[who] ?? agent
      if (does === "watch") watches.push({ who, gateway, ...world.watch(gateway, reader) })
      if (does === "leave") watches.shift()?.leave()
      if (does === "writes") world.hub(gateway).type(ticketId(0), reader, "public", world.nowMs)
      if (does === "stops") world.hub(gateway).type(ticketId(0), reader, null, world.nowMs)
      if (does === "cut") world.isCut = true
      if (does === "mend") world.isCut = false
      if (does === "waits") world.pass(3_000)
      else world.flush()
    }
    world.isCut = false
    world.pass(45_000)
    const there = [...new Set(watches.map(({ who }) => everybody[who]?.id))].sort()
    for (const { told, who } of watches) {
      const people = told.at(-1)?.people.map(({ id }) => id)
      expect(people).toEqual(everybody[who] === customer ? [] : there)
      expect(told.at(-1)).toMatchObject({ collision: false, isStaffWriting: false })
    }
  })
})

describe("a signal", () => {
  const sighting = (n: number, name: string | null) => ({
    ticketId: ticketId(n),
    person: { id: agent.id, name, role: agent.role },
    isViewing: true,
    writing: n % 2 === 0 ? ("public" as const) : null
  })

  it("comes back as it was, in as many texts as fit", () => {
    const sightings = Array.from({ length: 500 }, (_, n) => sighting(n, n % 3 === 0 ? null : 'Ä“"\n😀'.repeat(20)))
    const texts = writeSignals("gateway", sightings, 7_500)
    for (const text of texts) expect(Buffer.byteLength(text)).toBeLessThanOrEqual(7_500)
    expect(texts.flatMap((text) => readSignal(text)?.sightings ?? [])).toEqual(sightings)
  })

  it.each(["", "{", "[]", '{"gateway":"a"}', '{"gateway":"a","seen":[{"t":"no"}]}'])("%s is passed over", (text) => {
    const world = new World(1)
    world.hub(0).receive(text, world.nowMs)
    expect(readSignal(text)).toBeNull()
  })
})
