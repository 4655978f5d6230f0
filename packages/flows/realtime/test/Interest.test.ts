// What a subscriber may not read never matches, for every event type, audience, subscription and reader.

import { describe, expect, it } from "@effect/vitest"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { isStaff, Principal, Role } from "@holdfast/contracts/Principal"
import { Audience, TicketStatus } from "@holdfast/contracts/ticket/Status"
import { TicketListName } from "@holdfast/contracts/ticket/Views"
import { Schema } from "effect"
import { audienceOf, changeFor, type Interest } from "../src/Interest.ts"
import { agent, customer, envelope, eventTypes, fileId, otherAgent, otherCustomer, ticketId } from "./Events.ts"

const interests: ReadonlyArray<Interest> = [
  { _tag: "Ticket", id: ticketId(0) },
  { _tag: "File", id: fileId(0) },
  ...TicketListName.literals.map((list): Interest => ({ _tag: "TicketList", list })),
  { _tag: "Notifications" }
]

const PersonId = Schema.Literals(["customer-1", "customer-2", "agent-1"])
const Facts = Schema.NullOr(
  Schema.Struct({ status: TicketStatus, assigneeId: Schema.NullOr(PersonId), requesterId: PersonId })
)
const Case = Schema.Struct({
  type: Schema.Literals(eventTypes),
  audience: Audience,
  requesterId: PersonId,
  before: Facts,
  after: Facts,
  readerId: PersonId,
  role: Role,
  interest: Schema.Literals(interests.map((_, index) => index))
})

const decodeFacts = (facts: typeof Facts.Type, requesterId: string) =>
  facts === null
    ? null
    : {
        status: facts.status,
        assigneeId: facts.assigneeId === null ? null : PrincipalId.make(facts.assigneeId),
        requesterId: PrincipalId.make(requesterId)
      }

const caseOf = (given: typeof Case.Type) => {
  const { requesterId } = given
  const event = envelope({
    type: given.type,
    position: 1,
    visibility: {
      audience: given.audience,
      requesterId: PrincipalId.make(requesterId),
      before: decodeFacts(given.before, requesterId),
      after: decodeFacts(given.after, requesterId)
    }
  })
  const reader = Principal.make({ id: PrincipalId.make(given.readerId), role: given.role })
  const interest = interests[given.interest]
  if (interest === undefined) throw new Error("the index is from the list")
  return { event, reader, change: changeFor(interest, reader, event), interest }
}

describe("changeFor", () => {
  it.prop(
    "gives a customer public events of their own and nothing else",
    [Case],
    ([given]) => {
      const { change, event, reader } = caseOf(given)
      if (isStaff(reader) || change === null) return
      expect(event.visibility.audience).toBe("public")
      expect(event.visibility.requesterId).toBe(reader.id)
    },
    { arbitrary: { runs: 2000 } }
  )

  it.prop(
    "is the same for all of one audience, so that they may share one encoded event",
    [Case],
    ([given]) => {
      const { change, event, interest, reader } = caseOf(given)
      for (const id of ["customer-1", "customer-2", "agent-1"]) {
        const other = Principal.make({ id: PrincipalId.make(id), role: reader.role })
        if (audienceOf(interest, other) !== audienceOf(interest, reader)) continue
        expect(changeFor(interest, other, event)).toBe(change)
      }
    },
    { arbitrary: { runs: 2000 } }
  )

  it.each(eventTypes)("is silent about somebody else's %s", (type) => {
    for (const interest of interests) {
      expect(changeFor(interest, otherCustomer, envelope({ type, position: 1 }))).toBeNull()
    }
  })

  it.each(eventTypes)("keeps an internal %s from its own customer", (type) => {
    const event = envelope({ type, position: 1, visibility: { audience: "internal" } })
    for (const interest of interests) expect(changeFor(interest, customer, event)).toBeNull()
  })

  it("tells staff what entered, changed and left a list", () => {
    const facts = (status: TicketStatus, assigneeId: PrincipalId | null) => ({
      status,
      assigneeId,
      requesterId: customer.id
    })
    const assigned = envelope({
      type: "TicketAssigned",
      position: 1,
      visibility: { before: facts("new", null), after: facts("new", agent.id) }
    })
    const change = (list: TicketListName, reader = agent) => changeFor({ _tag: "TicketList", list }, reader, assigned)
    expect([change("unassigned"), change("mine"), change("open"), change("solved")]).toEqual([
      "left",
      "entered",
      "changed",
      null
    ])
    expect(change("mine", otherAgent)).toBeNull()
  })
})
