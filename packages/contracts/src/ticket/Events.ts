// What can happen to a ticket. Encoded events are pinned by golden files; a change is a new schema version with an upcaster.
import { Schema } from "effect"
import { RejectionReason } from "../attachment/Stages.ts"
import { FileId, MessageId, PrincipalId, TicketId } from "../Ids.ts"
import { PersonRef } from "../Principal.ts"
import { Body, FileName, Subject } from "../Text.ts"
import { Mentions } from "./Mentions.ts"
import { Audience, TicketPriority, TicketStatus } from "./Status.ts"

export const TicketOpened = Schema.TaggedStruct("TicketOpened", {
  ticketId: TicketId,
  /** The number that people use; unique, ascending, possibly with gaps. */
  number: Schema.Int.check(Schema.isGreaterThan(0)),
  subject: Subject,
  priority: TicketPriority,
  requester: PersonRef,
  messageId: MessageId,
  body: Body
})
export type TicketOpened = typeof TicketOpened.Type

/** `mentions` is absent where nobody is named, and in events before there were any; the same for a note. */
export const TicketReplied = Schema.TaggedStruct("TicketReplied", {
  ticketId: TicketId,
  messageId: MessageId,
  body: Body,
  mentions: Schema.optionalKey(Mentions)
})
export type TicketReplied = typeof TicketReplied.Type

export const NoteAdded = Schema.TaggedStruct("NoteAdded", {
  ticketId: TicketId,
  messageId: MessageId,
  body: Body,
  mentions: Schema.optionalKey(Mentions)
})
export type NoteAdded = typeof NoteAdded.Type

/** By an assignment or by a claim. */
export const TicketAssigned = Schema.TaggedStruct("TicketAssigned", { ticketId: TicketId, assigneeId: PrincipalId })
export type TicketAssigned = typeof TicketAssigned.Type

export const TicketStatusChanged = Schema.TaggedStruct("TicketStatusChanged", {
  ticketId: TicketId,
  from: TicketStatus,
  to: TicketStatus
})
export type TicketStatusChanged = typeof TicketStatusChanged.Type

export const FileAttached = Schema.TaggedStruct("FileAttached", {
  ticketId: TicketId,
  fileId: FileId,
  name: FileName,
  audience: Audience
})
export type FileAttached = typeof FileAttached.Type

/** A file that hangs on the ticket was found bad after its release. Seen by those who saw the attachment. */
export const AttachmentWithdrawn = Schema.TaggedStruct("AttachmentWithdrawn", {
  ticketId: TicketId,
  fileId: FileId,
  name: FileName,
  audience: Audience,
  reason: RejectionReason
})
export type AttachmentWithdrawn = typeof AttachmentWithdrawn.Type

export const TicketEvent = Schema.Union([
  TicketOpened,
  TicketReplied,
  NoteAdded,
  TicketAssigned,
  TicketStatusChanged,
  FileAttached,
  AttachmentWithdrawn
])
export type TicketEvent = typeof TicketEvent.Type
