// Which lists a ticket is in, and what an event does to a list for each reader.
import { describe, expect, it } from "@effect/vitest"
import type { TicketFacts } from "@holdfast/contracts/Envelope"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { TicketStatus } from "@holdfast/contracts/ticket/Status"
import { TicketListName } from "@holdfast/contracts/ticket/Views"
import { fold } from "@holdfast/testkit/ViewSync"
import { Schema } from "effect"
import { cachedList, placesOf } from "../../src/ticket/CachedTicket.ts"
import { factsOf, isInList, listChange } from "../../src/ticket/TicketLists.ts"
import { applyTicket } from "../../src/ticket/TicketView.ts"
import { ada, bob, carol, dora, pastOf, people, Steps, streamsOf } from "../Pasts.ts"

const facts = (status: TicketStatus, assigneeId: string | null = null): TicketFacts => ({
  status,
  assigneeId: assigneeId === null ? null : PrincipalId.make(assigneeId),
  requesterId: carol.id
})
const listsOf = (ticket: TicketFacts, reader: typeof ada) =>
  TicketListName.literals.filter((list) => isInList(list, ticket, reader))
const runs = { arbitrary: { runs: 30 } }

describe("a ticket is in", () => {
  it.each([
    ["new", null, ["all", "open", "unassigned"]],
    ["pending", null, ["all", "open", "unassigned"]],
    ["open", "ada", ["all", "open", "mine"]],
    ["open", "bob", ["all", "open"]],
    ["solved", "ada", ["all", "solved"]],
    ["closed", null, ["all", "solved"]]
  ] as const)("%s, assigned to %s: for Ada in %j", (status, assignee, lists) => {
    expect(listsOf(facts(status, assignee), ada)).toEqual(lists)
  })

  it("no list of a customer who did not request it", () => {
    for (const status of TicketStatus.literals) expect(listsOf(facts(status), dora)).toEqual([])
    expect(listsOf(facts("open"), carol)).toEqual(["all", "open", "unassigned"])
  })

  it.prop(
    "either open or solved, and unassigned or mine only when open",
    [TicketStatus, Schema.Boolean],
    ([status, own]) => {
      const lists = listsOf(facts(status, own ? "ada" : null), ada)
      expect(lists.includes("open")).toBe(!lists.includes("solved"))
      for (const list of ["unassigned", "mine"] as const) if (lists.includes(list)) expect(lists).toContain("open")
    }
  )
})

describe("an event makes a ticket", () => {
  const visibility = (before: TicketFacts | null, after: TicketFacts | null) =>
    ({ audience: "public", requesterId: carol.id, before, after }) as const

  it.each([
    ["enter", null, facts("new"), "entered"],
    ["leave", facts("open"), facts("solved"), "left"],
    ["change in", facts("new"), facts("open"), "changed"],
    ["not concern", facts("solved"), facts("closed"), null]
  ] as const)("%s the open list", (_, before, after, change) => {
    expect(listChange("open", visibility(before, after), ada)).toBe(change)
  })

  it("leave one agent's own list and enter another's", () => {
    const moved = visibility(facts("open", "ada"), facts("open", "bob"))
    expect(listChange("mine", moved, ada)).toBe("left")
    expect(listChange("mine", moved, bob)).toBe("entered")
    expect(listChange("mine", moved, carol)).toBeNull()
  })

  it.prop(
    "so that following the changes gives the list as it is",
    [Steps],
    ([steps]) => {
      for (const events of streamsOf(pastOf(steps), "ticket")) {
        const view = fold(applyTicket, events)
        for (const reader of people) {
          for (const list of TicketListName.literals) {
            let isIn = false
            for (const { visibility } of events) {
              const change = listChange(list, visibility, reader)
              if (change !== null) expect(isIn).toBe(change !== "entered")
              if (change !== null) isIn = change !== "left"
            }
            expect(isIn).toBe(view !== null && isInList(list, factsOf(view), reader))
          }
        }
      }
    },
    runs
  )
})

it.prop(
  "the cached places of a ticket are exactly the lists that its readers see it in",
  [Steps],
  ([steps]) => {
    for (const events of streamsOf(pastOf(steps), "ticket")) {
      const view = fold(applyTicket, events)
      if (view === null) continue
      const places = new Set(placesOf(view).map(({ list }) => list))
      for (const reader of people) {
        for (const list of TicketListName.literals) {
          const cached = cachedList(list, { id: reader.id, isStaff: reader.role !== "customer" })
          expect(places.has(cached)).toBe(isInList(list, factsOf(view), reader))
        }
      }
    }
  },
  runs
)
