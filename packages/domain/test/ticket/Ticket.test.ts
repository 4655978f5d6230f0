// What may happen to a ticket: every command accepted, refused and repeated.
import { describe, it } from "@effect/vitest"
import { FileId, MessageId, PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import { toPersonRef } from "@holdfast/contracts/Principal"
import {
  AttachmentWithdrawn,
  FileAttached,
  NoteAdded,
  TicketAssigned,
  TicketOpened,
  TicketReplied,
  TicketStatusChanged
} from "@holdfast/contracts/ticket/Events"
import {
  StatusChangeNotAllowed,
  TicketAlreadyClaimed,
  TicketAlreadyExists,
  TicketNotFound,
  TicketNotOpen
} from "@holdfast/contracts/ticket/Refusals"
import type { TicketStatus } from "@holdfast/contracts/ticket/Status"
import { firstCommandId, given as givenEvents, nextNumber } from "@holdfast/testkit/Given"
import { principal, uuid } from "@holdfast/testkit/History"
import { TicketDecider } from "../../src/ticket/Ticket.ts"

const given = givenEvents(TicketDecider)
const ticketId = TicketId.make(uuid(1))
const messageId = MessageId.make(firstCommandId)
const fileId = FileId.make(uuid(2))
const ada = principal("agent", "ada")
const bob = principal("agent", "bob")
const carol = principal("customer", "carol")
const dora = principal("customer", "dora")
const automation = principal("service", "automation")

const opened = TicketOpened.make({
  ticketId,
  number: 1,
  subject: "The printer is on fire",
  priority: "normal",
  requester: toPersonRef(carol),
  messageId: MessageId.make(ticketId),
  body: "It burns."
})
const moved = (from: TicketStatus, to: TicketStatus) => TicketStatusChanged.make({ ticketId, from, to })
const assigned = (assigneeId: string) => TicketAssigned.make({ ticketId, assigneeId: PrincipalId.make(assigneeId) })
const closed = [opened, moved("new", "closed")]
const notFound = new TicketNotFound({ ticketId })
const notOpen = new TicketNotOpen({ ticketId })

describe("OpenTicket", () => {
  const text = { subject: "No network", body: "At all." } as const
  const command = { _tag: "OpenTicket", ...text } as const
  const own = TicketId.make(firstCommandId)
  const openedFor = (requester: TicketOpened["requester"], priority: TicketOpened["priority"] = "normal") =>
    TicketOpened.make({ ...text, ticketId: own, number: nextNumber, priority, requester, messageId })

  it("takes the command's id and the next number, and its sender is the requester", () => {
    given()
      .when(command, carol)
      .accepted(openedFor(toPersonRef(carol)))
  })

  it("keeps the priority that was asked for", () => {
    given()
      .when({ ...command, priority: "urgent" }, carol)
      .accepted(openedFor(toPersonRef(carol), "urgent"))
  })

  it("is opened by staff for somebody else", () => {
    given()
      .when({ ...command, requester: toPersonRef(dora) }, ada)
      .accepted(openedFor(toPersonRef(dora)))
  })

  it("is never opened by a customer for somebody else", () => {
    given()
      .when({ ...command, requester: toPersonRef(dora) }, carol)
      .accepted(openedFor(toPersonRef(carol)))
  })

  it("is refused when the id is taken", () => {
    given(opened)
      .when(command, carol)
      .refused(new TicketAlreadyExists({ ticketId: own }))
  })
})

describe("ReplyToTicket", () => {
  const command = { _tag: "ReplyToTicket", ticketId, body: "Water?" } as const
  const replied = TicketReplied.make({ ticketId, messageId, body: "Water?" })

  it("opens a new ticket when staff answers first", () => {
    given(opened).when(command, ada).accepted(replied, moved("new", "open"))
  })

  it("leaves a new ticket new when its requester adds something", () => {
    given(opened).when(command, carol).accepted(replied)
  })

  it.each(["open", "pending", "on_hold", "solved"] as const)("of staff leaves the status %s", (status) => {
    given(opened, moved("new", status)).when(command, ada).accepted(replied)
  })

  it.each(["pending", "on_hold", "solved"] as const)("of the requester reopens a ticket that is %s", (status) => {
    given(opened, moved("new", status)).when(command, carol).accepted(replied, moved(status, "open"))
  })

  it("is refused once the ticket is closed", () => {
    given(...closed)
      .when(command, ada)
      .refused(notOpen)
  })

  it("is refused where there is no ticket, and where the ticket is another customer's", () => {
    given().when(command, ada).refused(notFound)
    given(opened).when(command, dora).refused(notFound)
    given(...closed)
      .when(command, dora)
      .refused(notFound)
  })
})

describe("AddNote", () => {
  const command = { _tag: "AddNote", ticketId, body: "A VIP." } as const

  it("adds what only staff reads, and moves nothing", () => {
    given(opened)
      .when(command, ada)
      .accepted(NoteAdded.make({ ticketId, messageId, body: "A VIP." }))
  })

  it("is refused once the ticket is closed, and where there is none", () => {
    given(...closed)
      .when(command, ada)
      .refused(notOpen)
    given().when(command, ada).refused(notFound)
  })
})

describe("AssignTicket", () => {
  const command = { _tag: "AssignTicket", ticketId, assigneeId: PrincipalId.make("ada") } as const

  it("gives a new ticket to an agent and opens it", () => {
    given(opened).when(command, automation).accepted(assigned("ada"), moved("new", "open"))
  })

  it("takes it from another agent", () => {
    given(opened, assigned("bob"), moved("new", "pending")).when(command, bob).accepted(assigned("ada"))
  })

  it("changes nothing when it is theirs already", () => {
    given(opened, assigned("ada")).when(command, bob).unchanged()
  })

  it("is refused once the ticket is closed, and where there is none", () => {
    given(...closed)
      .when(command, ada)
      .refused(notOpen)
    given().when(command, ada).refused(notFound)
  })
})

describe("ClaimTicket", () => {
  const command = { _tag: "ClaimTicket", ticketId } as const

  it("takes an unassigned ticket", () => {
    given(opened).when(command, ada).accepted(assigned("ada"), moved("new", "open"))
  })

  it("changes nothing for its holder", () => {
    given(opened, assigned("ada")).when(command, ada).unchanged()
  })

  it("is refused to the second of two, and says who was first", () => {
    given(opened, assigned("ada"))
      .when(command, bob)
      .refused(new TicketAlreadyClaimed({ ticketId, assigneeId: PrincipalId.make("ada") }))
  })

  it("is refused once the ticket is closed, and where there is none", () => {
    given(...closed)
      .when(command, ada)
      .refused(notOpen)
    given().when(command, ada).refused(notFound)
  })
})

describe("ChangeTicketStatus", () => {
  const to = (status: TicketStatus) => ({ _tag: "ChangeTicketStatus", ticketId, status }) as const

  it.each(["open", "pending", "on_hold", "solved", "closed"] as const)("moves a new ticket to %s", (status) => {
    given(opened).when(to(status), ada).accepted(moved("new", status))
  })

  it("reopens a solved ticket", () => {
    given(opened, moved("new", "solved")).when(to("open"), ada).accepted(moved("solved", "open"))
  })

  it("changes nothing when it has that status", () => {
    given(opened).when(to("new"), ada).unchanged()
    given(opened, moved("new", "solved")).when(to("solved"), ada).unchanged()
  })

  it("is refused back to new", () => {
    given(opened, moved("new", "open"))
      .when(to("new"), ada)
      .refused(new StatusChangeNotAllowed({ ticketId, from: "open", to: "new" }))
  })

  it.each(["new", "open", "closed"] as const)("is refused to %s once the ticket is closed", (status) => {
    given(...closed)
      .when(to(status), ada)
      .refused(notOpen)
  })

  it("is refused where there is none", () => {
    given().when(to("open"), ada).refused(notFound)
  })
})

describe("AttachFile", () => {
  const command = { _tag: "AttachFile", ticketId, fileId, name: "fire.png" } as const
  const attached = (audience: "public" | "internal") =>
    FileAttached.make({ ticketId, fileId, name: "fire.png", audience })

  it("is public unless staff says otherwise", () => {
    given(opened).when(command, carol).accepted(attached("public"))
    given(opened).when(command, ada).accepted(attached("public"))
    given(opened)
      .when({ ...command, audience: "internal" }, ada)
      .accepted(attached("internal"))
  })

  it("is never internal by a customer, who could not see it then", () => {
    given(opened)
      .when({ ...command, audience: "internal" }, carol)
      .accepted(attached("public"))
  })

  it("changes nothing when the file is attached already", () => {
    given(opened, attached("public")).when(command, ada).unchanged()
  })

  it("is refused once the ticket is closed, where there is none, and on another customer's", () => {
    given(...closed)
      .when(command, carol)
      .refused(notOpen)
    given().when(command, carol).refused(notFound)
    given(opened).when(command, dora).refused(notFound)
  })
})

describe("WithdrawAttachment", () => {
  const service = principal("service", "file-worker")
  const found = { reason: "malware", audience: "public", name: "fire.png" } as const
  const command = { _tag: "WithdrawAttachment", ticketId, fileId, ...found, detail: "Eicar" } as const
  const withdrawn = AttachmentWithdrawn.make({ ticketId, fileId, ...found })
  const note = NoteAdded.make({
    ticketId,
    messageId: MessageId.make(firstCommandId),
    body: 'The file "fire.png" was withdrawn after its release: Eicar (malware). Links to it are dead.'
  })

  it("tells those who saw the attachment what, and staff also why; a closed ticket too", () => {
    given(opened).when(command, service).accepted(withdrawn, note)
    given(...closed)
      .when(command, service)
      .accepted(withdrawn, note)
  })

  it("changes nothing when it is told already", () => {
    given(opened, withdrawn, note).when(command, service).unchanged()
  })

  it("is refused where there is none", () => {
    given().when(command, service).refused(notFound)
  })
})
