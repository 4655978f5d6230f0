// Who is on a ticket, against a model that remembers everything that was said: whoever was said lately is there, nobody else is, and a
// customer is shown nobody.
import { describe, expect, it } from "@effect/vitest"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { Audience } from "@holdfast/contracts/ticket/Status"
import { Schema } from "effect"
import { Presence, type PresenceBounds, type Sighting } from "../src/Presence.ts"
import { ticketId } from "./Events.ts"

const bounds: PresenceBounds = {
  viewingMs: 30,
  writingMs: 6,
  ticketsMax: 100,
  peoplePerTicketMax: 100,
  peopleShownMax: 50
}
const roles = { ada: "agent", bob: "agent", carol: "customer" } as const

const Name = Schema.Literals(["ada", "bob", "carol"])
const Said = Schema.Struct({
  gateway: Schema.Literals(["one", "two"]),
  name: Name,
  ticket: Schema.Literals([0, 1]),
  isViewing: Schema.Boolean,
  writing: Schema.NullOr(Audience),
  passesMs: Schema.Literals([0, 1, 4, 10, 29])
})
type Said = typeof Said.Type
const Story = Schema.Array(Said).check(Schema.isBetweenLength(1, 40))

const sighting = ({ isViewing, name, ticket, writing }: Omit<Said, "gateway" | "passesMs">): Sighting => ({
  ticketId: ticketId(ticket),
  person: { id: PrincipalId.make(name), name, role: roles[name] },
  isViewing,
  writing
})

/** After every saying, the state and what was said so far with its time. */
const play = (
  story: ReadonlyArray<Said>,
  check: (presence: Presence, past: ReadonlyArray<Said & { atMs: number }>, nowMs: number) => void
) => {
  const presence = new Presence(bounds)
  const past: Array<Said & { atMs: number }> = []
  let nowMs = 0
  for (const said of story) {
    nowMs += said.passesMs
    presence.sight(said.gateway, sighting(said), nowMs)
    if (nowMs % 3 === 0) presence.expire(nowMs)
    past.push({ ...said, atMs: nowMs })
    check(presence, past, nowMs)
  }
}

/** What each gateway said last of each person on this ticket. */
const lastSaid = (past: ReadonlyArray<Said & { atMs: number }>, ticket: 0 | 1) => [
  ...new Map(
    past.filter((said) => said.ticket === ticket).map((said) => [`${said.gateway} ${said.name}`, said])
  ).values()
]

describe("who is on a ticket", () => {
  it.prop("is whoever was said lately by some gateway, and writes if one says so", [Story], ([story]) => {
    play(story, (presence, past, nowMs) => {
      for (const ticket of [0, 1] as const) {
        const said = lastSaid(past, ticket)
        const writing = said.filter((one) => one.writing !== null && nowMs < one.atMs + bounds.writingMs)
        const viewing = said.filter((one) => one.isViewing && nowMs < one.atMs + bounds.viewingMs)
        const names = new Set([...viewing, ...writing].map(({ name }) => name))
        const { people } = presence.viewFor(ticketId(ticket), true, nowMs)
        expect(new Set(people.map(({ id }) => id))).toEqual(names)
        expect(people.length).toBe(names.size)
        for (const { id, state } of people) {
          expect(state === "writing").toBe(writing.some(({ name }) => name === id))
        }
      }
    })
  })

  it.prop("warns exactly while two of the desk write, and never because of a customer", [Story], ([story]) => {
    play(story, (presence, past, nowMs) => {
      const writers = lastSaid(past, 0).filter((one) => one.writing !== null && nowMs < one.atMs + bounds.writingMs)
      const staff = new Set(writers.map(({ name }) => name).filter((name) => name !== "carol"))
      expect(presence.viewFor(ticketId(0), true, nowMs)).toMatchObject({
        collision: staff.size > 1,
        isStaffWriting: staff.size > 0
      })
    })
  })

  it.prop("shows a customer nobody, and of the desk only that it writes a public reply", [Story], ([story]) => {
    play(story, (presence, past, nowMs) => {
      const writers = lastSaid(past, 0).filter((one) => one.writing !== null && nowMs < one.atMs + bounds.writingMs)
      const isStaffWriting = writers.some(({ name, writing }) => name !== "carol" && writing === "public")
      expect(presence.viewFor(ticketId(0), false, nowMs)).toEqual({
        ticketId: ticketId(0),
        people: [],
        collision: false,
        isStaffWriting
      })
    })
  })

  it.prop("is forgotten altogether after a while, and says of which tickets", [Story], ([story]) => {
    const presence = new Presence(bounds)
    for (const said of story) presence.sight(said.gateway, sighting(said), 0)
    const count = presence.ticketCount
    expect(presence.expire(bounds.viewingMs).length).toBe(count)
    expect(presence.ticketCount).toBe(0)
    expect(presence.expire(bounds.viewingMs)).toEqual([])
  })
})

describe("bounds", () => {
  const see = (presence: Presence, ticket: number, name: string) =>
    presence.sight(
      "one",
      {
        ticketId: ticketId(ticket),
        person: { id: PrincipalId.make(name), name: null, role: "agent" },
        isViewing: true,
        writing: null
      },
      0
    )

  it("lets no more tickets, people or list entries in than they say, and room comes back", () => {
    const presence = new Presence({ ...bounds, ticketsMax: 2, peoplePerTicketMax: 3, peopleShownMax: 2 })
    for (let n = 0; n < 5; n++) see(presence, n, "ada")
    expect(presence.ticketCount).toBe(2)
    for (let n = 0; n < 5; n++) see(presence, 0, `agent-${n}`)
    expect(presence.viewFor(ticketId(0), true, 0).people.map(({ id }) => id)).toEqual(["ada", "agent-0"])
    presence.expire(bounds.viewingMs)
    see(presence, 4, "ada")
    expect(presence.viewFor(ticketId(4), true, 0).people).toHaveLength(1)
  })
})
