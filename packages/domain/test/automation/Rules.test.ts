// A rule fires when all of its conditions hold, and what it issues follows from the event alone.
import { describe, expect, it } from "@effect/vitest"
import { Rule } from "@holdfast/contracts/automation/Rules"
import { fullHistory, History, principal } from "@holdfast/testkit/History"
import { Schema } from "effect"
import { firedBy } from "../../src/automation/Rules.ts"

const rule = (id: string, words: ReadonlyArray<string>, ...assignees: ReadonlyArray<string>) =>
  Schema.decodeSync(Rule)({
    id,
    on: "TicketOpened",
    conditions: words.map((one) => ({ _tag: "SubjectContains", words: one })),
    actions: assignees.map((assigneeId) => ({ _tag: "AssignTo", assigneeId }))
  })
const opened = (subject: string) => {
  const history = new History()
  history.open(principal("customer", "carol"), subject)
  const [envelope] = history.envelopes
  if (envelope === undefined) throw new Error("nothing was opened")
  return envelope
}
const printers = rule("printers", ["printer"], "ada")

describe("a rule", () => {
  it("fires on its words in any case, and issues an ordinary command", () => {
    const envelope = opened("My PRINTER burns")
    expect(firedBy([printers], envelope)).toEqual([
      {
        rule: printers,
        key: `${envelope.eventId}/printers/0`,
        command: { _tag: "AssignTicket", ticketId: envelope.streamId, assigneeId: "ada" }
      }
    ])
  })

  it("does not fire without them", () => {
    expect(firedBy([printers], opened("My network burns"))).toEqual([])
  })

  it("needs every condition", () => {
    const both = rule("both", ["printer", "fire"], "ada")
    expect(firedBy([both], opened("printer on fire"))).toHaveLength(1)
    expect(firedBy([both], opened("printer on holiday"))).toEqual([])
  })

  it("fires on no other event", () => {
    const everything = rule("everything", ["e"], "ada")
    const others = fullHistory().envelopes.filter(({ event }) => event._tag !== "TicketOpened")
    expect(others.flatMap((envelope) => firedBy([everything], envelope))).toEqual([])
  })
})

describe("the keys of what fires", () => {
  const rules = [printers, rule("more", ["p"], "bob", "ada")]

  it("are the same for a redelivery, so nothing is issued twice", () => {
    const envelope = opened("printer")
    expect(firedBy(rules, envelope)).toEqual(firedBy(rules, envelope))
  })

  it("differ by rule, action and event, so nothing is lost", () => {
    const history = new History()
    for (const subject of ["printer one", "printer two"]) history.open(principal("customer", "carol"), subject)
    const keys = history.envelopes.flatMap((envelope) => firedBy(rules, envelope)).map(({ key }) => key)
    expect(new Set(keys).size).toBe(6)
  })
})
