// The views of a ticket as pure folds. View sync law: a view with later events applied equals the view folded from the start.
// An event at or below the view's version is already in it and changes nothing, so a redelivery is harmless.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { TicketId } from "@holdfast/contracts/Ids"
import { isStaff, toPersonRef } from "@holdfast/contracts/Principal"
import type { MessageView, TicketDocument, TicketView } from "@holdfast/contracts/ticket/Views"

/** Messages kept in a document; the whole conversation is in the read database. */
export const documentMessagesMax = 200
/** Attachments named in a header. */
export const attachmentsMax = 200

export const applyTicket = (view: TicketView | null, envelope: Envelope): TicketView | null => {
  if (view !== null && envelope.streamVersion <= view.version) return view
  const changed = changeOf(view, envelope)
  if (changed === null) return view
  const { occurredAt, position, streamVersion } = envelope
  const forAll = { ...changed, version: streamVersion, position, updatedAt: occurredAt }
  if (envelope.visibility.audience !== "public") return forAll
  return { ...forAll, publicVersion: streamVersion, publicUpdatedAt: occurredAt }
}

const changeOf = (view: TicketView | null, envelope: Envelope): TicketView | null => {
  const { event } = envelope
  if (event._tag === "TicketOpened") return opened(envelope, event)
  if (view === null) return null
  switch (event._tag) {
    case "TicketReplied":
      return { ...view, publicMessageCount: view.publicMessageCount + 1 }
    case "NoteAdded":
      return { ...view, internalMessageCount: view.internalMessageCount + 1 }
    case "TicketAssigned":
      return { ...view, assigneeId: event.assigneeId }
    case "TicketStatusChanged":
      return { ...view, status: event.to }
    case "FileAttached": {
      const { audience, fileId, name } = event
      const attachedByStaff = isStaff(envelope.principal)
      const attachment = { fileId, name, audience, attachedByStaff, attachedAt: envelope.occurredAt }
      return { ...view, attachments: [...view.attachments, attachment].slice(-attachmentsMax) }
    }
    case "AttachmentWithdrawn": {
      const { fileId, reason } = event
      const attachments = view.attachments.map((one) => (one.fileId === fileId ? { ...one, withdrawn: reason } : one))
      return { ...view, attachments }
    }
    default:
      return null
  }
}

const opened = (
  envelope: Envelope,
  event: Extract<Envelope["event"], { readonly _tag: "TicketOpened" }>
): TicketView => ({
  id: event.ticketId,
  version: envelope.streamVersion,
  publicVersion: envelope.streamVersion,
  position: envelope.position,
  number: event.number,
  subject: event.subject,
  status: "new",
  priority: event.priority,
  requester: event.requester,
  assigneeId: null,
  attachments: [],
  publicMessageCount: 1,
  internalMessageCount: 0,
  openedAt: envelope.occurredAt,
  updatedAt: envelope.occurredAt,
  publicUpdatedAt: envelope.occurredAt
})

/** The message that an event adds to the conversation; null when it adds none. */
export const messageOf = (envelope: Envelope): MessageView | null => {
  const { event } = envelope
  if (event._tag !== "TicketOpened" && event._tag !== "TicketReplied" && event._tag !== "NoteAdded") return null
  return {
    id: event.messageId,
    ticketId: TicketId.make(envelope.streamId),
    version: envelope.streamVersion,
    audience: event._tag === "NoteAdded" ? "internal" : "public",
    author: event._tag === "TicketOpened" ? event.requester : toPersonRef(envelope.principal),
    body: event.body,
    sentAt: envelope.occurredAt
  }
}

export const applyDocument = (document: TicketDocument | null, envelope: Envelope): TicketDocument | null => {
  if (document !== null && envelope.streamVersion <= document.ticket.version) return document
  const ticket = applyTicket(document?.ticket ?? null, envelope)
  if (ticket === null) return document
  const message = messageOf(envelope)
  const messages = message === null ? (document?.messages ?? []) : [...(document?.messages ?? []), message]
  return {
    ticket,
    messages: messages.slice(-documentMessagesMax),
    truncated: (document?.truncated ?? false) || messages.length > documentMessagesMax
  }
}
