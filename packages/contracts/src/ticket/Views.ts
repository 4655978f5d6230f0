// What readers see of tickets: one header per ticket, its messages, and the standard lists.
import { Schema } from "effect"
import { RejectionReason } from "../attachment/Stages.ts"
import { FileId, MessageId, Position, PrincipalId, StreamVersion, TicketId } from "../Ids.ts"
import { PersonRef } from "../Principal.ts"
import { Audience, TicketPriority, TicketStatus } from "./Status.ts"

export const AttachmentRef = Schema.Struct({
  fileId: FileId,
  name: Schema.String,
  audience: Audience,
  /** Staff shared it, so a reader of this attachment may open the file. Absent in views older than this field. */
  attachedByStaff: Schema.optionalKey(Schema.Boolean),
  /** Why it was withdrawn after its release; absent while it was not. */
  withdrawn: Schema.optionalKey(RejectionReason),
  attachedAt: Schema.DateTimeUtcFromString
})
export type AttachmentRef = typeof AttachmentRef.Type

export const MessageView = Schema.Struct({
  id: MessageId,
  ticketId: TicketId,
  /** The stream version of the event that added it: its order in the conversation. */
  version: StreamVersion,
  audience: Audience,
  author: PersonRef,
  body: Schema.String,
  sentAt: Schema.DateTimeUtcFromString
})
export type MessageView = typeof MessageView.Type

export const TicketView = Schema.Struct({
  id: TicketId,
  version: StreamVersion,
  /** Of the last event that the requester may see. Absent in views older than this field. */
  publicVersion: Schema.optionalKey(StreamVersion),
  position: Position,
  number: Schema.Int,
  subject: Schema.String,
  status: TicketStatus,
  priority: TicketPriority,
  requester: PersonRef,
  assigneeId: Schema.NullOr(PrincipalId),
  attachments: Schema.Array(AttachmentRef),
  /** Messages of each audience; what a customer is shown counts the public ones only. */
  publicMessageCount: Schema.Natural,
  internalMessageCount: Schema.Natural,
  openedAt: Schema.DateTimeUtcFromString,
  updatedAt: Schema.DateTimeUtcFromString,
  /** When something last changed that the requester may see: all that a customer's screen may sort or show by. */
  publicUpdatedAt: Schema.DateTimeUtcFromString
})
export type TicketView = typeof TicketView.Type

/** A ticket with the newest part of its conversation, oldest first: the document that the cached read models hold. */
export const TicketDocument = Schema.Struct({
  ticket: TicketView,
  messages: Schema.Array(MessageView),
  /** True when older messages were left out to keep the document bounded. */
  truncated: Schema.Boolean
})
export type TicketDocument = typeof TicketDocument.Type

/**
 * The standard lists. `all`, `open` (not solved or closed), `unassigned` (open with nobody on it), `solved` (solved or closed),
 * `mine` (open and assigned to the reader). A customer sees each list cut to the tickets that they requested.
 */
export const TicketListName = Schema.Literals(["all", "open", "unassigned", "solved", "mine"])
export type TicketListName = typeof TicketListName.Type
