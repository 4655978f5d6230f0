// What a customer never sees, over random pasts and every event type; and who may issue what.
import { describe, expect, it } from "@effect/vitest"
import { commands } from "@holdfast/contracts/Commands"
import { Role } from "@holdfast/contracts/Principal"
import { principal } from "@holdfast/testkit/History"
import { fold } from "@holdfast/testkit/ViewSync"
import { mayIssue, mayReadAnalytics, mayReadEvent, mayReadPart, mayReadStream } from "../src/Permissions.ts"
import { wordsOfDocument } from "../src/ticket/CachedTicket.ts"
import { applyDocument } from "../src/ticket/TicketView.ts"
import { ada, carol, dora, pastOf, Steps, streamsOf } from "./Pasts.ts"

const internal: ReadonlySet<string> = new Set(["NoteAdded", "FileRescanRequested", "FileRescanned", "FileRescanFailed"])
const runs = { arbitrary: { runs: 60 } }

describe("a customer", () => {
  it.prop(
    "reads no event with internal content, and none of another customer's",
    [Steps],
    ([steps]) => {
      for (const { event, visibility } of pastOf(steps)) {
        const isInternal = internal.has(event._tag) || ("audience" in event && event.audience === "internal")
        for (const reader of [carol, dora]) {
          const may = mayReadEvent(reader, visibility)
          if (isInternal || visibility.requesterId !== reader.id) expect(may).toBe(false)
          else expect(may).toBe(true)
        }
        expect(mayReadEvent(ada, visibility)).toBe(true)
      }
    },
    runs
  )

  it.prop(
    "reads no internal message and no internal attachment of a document",
    [Steps],
    ([steps]) => {
      for (const events of streamsOf(pastOf(steps), "ticket")) {
        const document = fold(applyDocument, events)
        if (document === null) continue
        const { requester } = document.ticket
        for (const reader of [carol, dora]) {
          const mayRead = ({ audience }: { readonly audience: "public" | "internal" }) =>
            mayReadPart(reader, requester.id, audience)
          expect(document.messages.filter(mayRead).map(({ body }) => body)).not.toContain("internal words")
          expect(document.ticket.attachments.filter(mayRead).map(({ name }) => name)).not.toContain("internal.png")
          if (requester.id !== reader.id) expect(document.messages.filter(mayRead)).toEqual([])
        }
      }
    },
    runs
  )

  it.prop(
    "finds no ticket by words that only staff wrote",
    [Steps],
    ([steps]) => {
      for (const events of streamsOf(pastOf(steps), "ticket")) {
        const document = fold(applyDocument, events)
        if (document !== null) expect(wordsOfDocument(document, 1000).public).not.toContain("internal")
      }
    },
    runs
  )

  it.prop(
    "sees a ticket move only when something happened that they may see",
    [Steps],
    ([steps]) => {
      for (const events of streamsOf(pastOf(steps), "ticket")) {
        const document = fold(applyDocument, events)
        const last = events.findLast(({ visibility }) => visibility.audience === "public")
        expect(document?.ticket.publicUpdatedAt).toEqual(last?.occurredAt)
        expect(document?.ticket.publicVersion).toEqual(last?.streamVersion)
      }
    },
    runs
  )
})

describe("who may", () => {
  it.each(commands.map((definition) => [definition.name, definition.roles] as const))(
    "issue %s: exactly %s",
    (name, roles) => {
      const may = Role.literals.filter((role) => mayIssue(principal(role, "somebody"), name))
      expect([...may].sort()).toEqual([...roles].sort())
    }
  )

  it("take notes, assign, claim, change a status, or speak for the pipeline: never a customer", () => {
    const allowed = commands.map(({ name }) => name).filter((name) => mayIssue(carol, name))
    expect(allowed).toEqual(["OpenTicket", "ReplyToTicket", "AttachFile", "ReadNotifications"])
  })

  it("read a stream: staff, and its own customer", () => {
    const all = Role.literals.filter((role) => mayReadStream(principal(role, "somebody"), carol.id))
    expect(all).not.toContain("customer")
    expect(all).toHaveLength(Role.literals.length - 1)
    expect(mayReadStream(carol, carol.id)).toBe(true)
  })

  it("read figures about the whole desk: staff", () => {
    expect(Role.literals.filter((role) => !mayReadAnalytics(principal(role, "somebody")))).toEqual(["customer"])
  })
})
