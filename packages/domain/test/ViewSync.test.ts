// View sync law for every view, over random pasts: old view + later events = the view folded from the log, wherever it is split,
// however often events come again, and through the form in which it is stored.
import { describe, expect, it } from "@effect/vitest"
import { FileView } from "@holdfast/contracts/attachment/Views"
import { eventTypes } from "@holdfast/contracts/EventVersions"
import { TicketDocument, TicketView } from "@holdfast/contracts/ticket/Views"
import { fullHistory, History } from "@holdfast/testkit/History"
import { expectViewSync, fold } from "@holdfast/testkit/ViewSync"
import { Schema } from "effect"
import { applyFile } from "../src/attachment/FileView.ts"
import { applyDocument, applyTicket, documentMessagesMax } from "../src/ticket/TicketView.ts"
import { ada, carol, pastOf, Steps, streamsOf } from "./Pasts.ts"

/** As a row or a cached document keeps it. */
const throughJson = <A, I>(schema: Schema.Codec<A, I>) => {
  const codec = Schema.fromJsonString(schema)
  const encode = Schema.encodeSync(codec)
  const decode = Schema.decodeSync(codec)
  return (view: A) => decode(encode(view))
}
const stored = {
  ticket: throughJson(TicketView),
  document: throughJson(TicketDocument),
  file: throughJson(FileView)
}

const runs = { arbitrary: { runs: 30 } }

describe("old view + events = fresh view", () => {
  it.prop(
    "for a ticket",
    [Steps],
    ([steps]) => {
      for (const events of streamsOf(pastOf(steps), "ticket")) expectViewSync(applyTicket, events, stored.ticket)
    },
    runs
  )

  it.prop(
    "for a ticket with its conversation",
    [Steps],
    ([steps]) => {
      for (const events of streamsOf(pastOf(steps), "ticket")) expectViewSync(applyDocument, events, stored.document)
    },
    runs
  )

  it.prop(
    "for a file",
    [Steps],
    ([steps]) => {
      for (const events of streamsOf(pastOf(steps), "file")) expectViewSync(applyFile, events, stored.file)
    },
    runs
  )

  it("for a past in which every event type occurs", () => {
    const { envelopes } = fullHistory()
    for (const events of streamsOf(envelopes, "ticket")) {
      expectViewSync(applyTicket, events, stored.ticket)
      expectViewSync(applyDocument, events, stored.document)
    }
    for (const events of streamsOf(envelopes, "file")) expectViewSync(applyFile, events, stored.file)
    expect(new Set(envelopes.map(({ event }) => event._tag))).toEqual(new Set(eventTypes))
  })
})

describe("a view", () => {
  it.prop(
    "stands at the last event of its stream that it knows",
    [Steps],
    ([steps]) => {
      for (const events of streamsOf(pastOf(steps), "ticket")) {
        const view = fold(applyTicket, events)
        expect(view).toMatchObject({ version: events.length, position: events.at(-1)?.position })
      }
    },
    runs
  )

  it.prop(
    "of a ticket counts exactly the messages of its conversation",
    [Steps],
    ([steps]) => {
      for (const events of streamsOf(pastOf(steps), "ticket")) {
        const document = fold(applyDocument, events)
        const of = (audience: string) => document?.messages.filter((message) => message.audience === audience).length
        expect(document?.ticket.publicMessageCount).toBe(of("public"))
        expect(document?.ticket.internalMessageCount).toBe(of("internal"))
      }
    },
    runs
  )

  it("of another stream's events is nothing", () => {
    const { envelopes } = fullHistory()
    const [ticket = []] = streamsOf(envelopes, "ticket")
    const [file = []] = streamsOf(envelopes, "file")
    expect(fold(applyFile, ticket)).toBeNull()
    expect(fold(applyTicket, file)).toBeNull()
    expect(fold(applyTicket, ticket.slice(1))).toBeNull()
  })
})

it("a document stays bounded, and says that it was cut", () => {
  const history = new History()
  const ticketId = history.open(carol, "A long story")
  for (let count = 0; count < documentMessagesMax; count++) {
    history.issue(ada, { _tag: "ReplyToTicket", ticketId, body: `reply ${count}` })
  }
  const document = fold(applyDocument, history.envelopes)
  expect(document?.messages).toHaveLength(documentMessagesMax)
  expect(document?.truncated).toBe(true)
  expect(document?.ticket.publicMessageCount).toBe(documentMessagesMax + 1)
  expectViewSync(applyDocument, history.envelopes.slice(-20), stored.document)
})
