// Who is told of what: over random pasts of a desk, nobody is told of what they may not read or did themselves, and nobody who is named,
// given a ticket or answered is forgotten.
import { describe, expect, it } from "@effect/vitest"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { isStaff } from "@holdfast/contracts/Principal"
import { History, principal } from "@holdfast/testkit/History"
import { notificationFor, notificationsOf } from "../../src/notification/Notifications.ts"
import { mayReadEvent } from "../../src/Permissions.ts"
import { pastOf, people, Steps } from "../Pasts.ts"

const ada = principal("agent", "ada")
const bob = principal("agent", "bob")
const carol = principal("customer", "carol")
const dora = principal("customer", "dora")

/** What the newest event of a history tells each of them. */
const told = (history: History, among = [ada, bob, carol, dora]) => {
  const last = history.envelopes.at(-1)
  return Object.fromEntries(
    among.flatMap((one) => {
      const kind = last === undefined ? null : notificationFor(last, one)
      return kind === null ? [] : [[one.id, kind]]
    })
  )
}

describe("over any past", () => {
  it.prop(
    "nobody is told of what they may not read, nor of what they did themselves",
    [Steps],
    ([steps]) => {
      for (const envelope of pastOf(steps)) {
        for (const reader of people) {
          const kind = notificationFor(envelope, reader)
          if (kind === null) continue
          expect(mayReadEvent(reader, envelope.visibility)).toBe(true)
          expect(envelope.principal.id).not.toBe(reader.id)
          if (!isStaff(reader))
            expect(envelope.visibility).toMatchObject({ audience: "public", requesterId: reader.id })
        }
      }
    },
    { arbitrary: { runs: 100 } }
  )

  it.prop(
    "each is told once of an event, and of an event of one kind only by the rule of that kind",
    [Steps],
    ([steps]) => {
      const types: Record<string, ReadonlyArray<Envelope["event"]["_tag"]>> = {
        assigned: ["TicketAssigned"],
        mentioned: ["NoteAdded", "TicketReplied"],
        replied: ["TicketReplied"],
        fileRejected: ["FileRejected"]
      }
      for (const envelope of pastOf(steps)) {
        const notifications = notificationsOf(envelope)
        expect(new Set(notifications.map(({ recipientId }) => recipientId)).size).toBe(notifications.length)
        for (const { kind } of notifications) expect(types[kind]).toContain(envelope.event._tag)
      }
    },
    { arbitrary: { runs: 100 } }
  )

  it.prop(
    "a rejected file is told to who uploaded it, and an answer to who waits for it",
    [Steps],
    ([steps]) => {
      for (const envelope of pastOf(steps)) {
        const { event, principal: actor, visibility } = envelope
        const ids = notificationsOf(envelope).flatMap(({ kind, recipientId }) =>
          kind === "mentioned" ? [] : [recipientId]
        )
        const named = notificationsOf(envelope).length - ids.length
        if (event._tag === "FileRejected") expect(ids).toEqual([visibility.requesterId])
        if (event._tag !== "TicketReplied") continue
        // Who is named and answered is told that they are named.
        if (named > 0) continue
        if (actor.id !== visibility.requesterId) expect(ids).toEqual([visibility.requesterId])
        else {
          const assigneeId = visibility.after?.assigneeId ?? null
          expect(ids).toEqual(assigneeId === null || assigneeId === actor.id ? [] : [assigneeId])
        }
      }
    },
    { arbitrary: { runs: 100 } }
  )
})

describe("a ticket", () => {
  const opened = () => {
    const history = new History()
    return { history, ticketId: history.open(carol, "Printer") }
  }

  it("given to somebody is told to them, and claimed to nobody", () => {
    const { history, ticketId } = opened()
    history.issue(ada, { _tag: "AssignTicket", ticketId, assigneeId: bob.id })
    // The change of status comes last.
    const assigned = history.envelopes.find(({ event }) => event._tag === "TicketAssigned")
    expect(assigned === undefined ? null : notificationsOf(assigned)).toEqual([
      { recipientId: bob.id, kind: "assigned" }
    ])
    const other = opened()
    other.history.issue(ada, { _tag: "ClaimTicket", ticketId: other.ticketId })
    expect(other.history.envelopes.flatMap(notificationsOf)).toEqual([])
  })

  it("tells the colleague whom a note names, never its customer, and not who wrote it", () => {
    const { history, ticketId } = opened()
    history.issue(ada, { _tag: "AddNote", ticketId, body: "see", mentions: [ada.id, bob.id, carol.id, dora.id] })
    expect(told(history)).toEqual({ bob: "mentioned" })
  })

  it("tells the requester of an answer once, as named when it names them, and no other customer", () => {
    const { history, ticketId } = opened()
    history.issue(ada, { _tag: "ClaimTicket", ticketId })
    history.issue(ada, { _tag: "ReplyToTicket", ticketId, body: "hello" })
    expect(told(history)).toEqual({ carol: "replied" })
    history.issue(ada, { _tag: "ReplyToTicket", ticketId, body: "hello", mentions: [carol.id, dora.id, bob.id] })
    expect(told(history)).toEqual({ bob: "mentioned", carol: "mentioned" })
  })

  it("tells whoever has it of the requester's answer; whom a customer names is not told", () => {
    const { history, ticketId } = opened()
    history.issue(ada, { _tag: "ClaimTicket", ticketId })
    history.issue(carol, { _tag: "ReplyToTicket", ticketId, body: "hello", mentions: [PrincipalId.make("bob")] })
    expect(told(history)).toEqual({ ada: "replied" })
  })

  it("tells a colleague who asked for it of the desk's answer, and the desk of theirs", () => {
    const history = new History()
    const ticketId = history.open(bob, "My own printer")
    history.issue(ada, { _tag: "ClaimTicket", ticketId })
    history.issue(ada, { _tag: "ReplyToTicket", ticketId, body: "hello" })
    expect(told(history)).toEqual({ bob: "replied" })
    history.issue(bob, { _tag: "ReplyToTicket", ticketId, body: "thank you" })
    expect(told(history)).toEqual({ ada: "replied" })
  })
})
