// An event as a subscriber gets it: flat, with what belongs to the event's type and null for the rest. People appear without their
// addresses, and which tools of which versions looked at a file is for staff.
import type { FileEvent } from "@holdfast/contracts/attachment/Events"
import type { FileState, TimelineStage } from "@holdfast/contracts/attachment/Stages"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { isStaff, type Principal } from "@holdfast/contracts/Principal"
import { stateBefore } from "@holdfast/domain/attachment/Attachment"
import { notificationFor } from "@holdfast/domain/notification/Notifications"
import type { ListChange } from "@holdfast/domain/ticket/TicketLists"
import { DateTime } from "effect"

type Payload = Readonly<Record<string, unknown>>

export const payloadOf = (envelope: Envelope, change: ListChange, reader: Principal): Payload => ({
  position: envelope.position,
  eventId: envelope.eventId,
  type: envelope.event._tag,
  occurredAt: DateTime.formatIso(envelope.occurredAt),
  actor: actorOf(envelope.principal),
  streamVersion: envelope.streamVersion,
  change,
  ...detailsOf(envelope),
  ...(isStaff(reader) ? toolsOf(envelope.event) : {})
})

/** For whom it is one; what is absent is null. */
export const notificationOf = (envelope: Envelope, reader: Principal): Payload => {
  const { event, eventId, occurredAt, position, principal, streamId, streamType } = envelope
  const base = { position, eventId, occurredAt: DateTime.formatIso(occurredAt), actor: actorOf(principal) }
  if (event._tag === "NotificationsRead") {
    return { ...base, kind: "read", upTo: event.upTo ?? null, eventIds: event.eventIds ?? null }
  }
  const about = streamType === "file" ? { fileId: streamId } : { ticketId: streamId }
  return { ...base, kind: notificationFor(envelope, reader), ...about }
}

const actorOf = ({ id, name }: Principal): Payload => ({ id, name: name ?? null })

const toolsOf = (event: Envelope["event"]): Payload => ({
  ...("tool" in event && event.tool !== undefined ? { tool: event.tool } : {}),
  ...("inspector" in event && event.inspector !== undefined ? { inspector: event.inspector } : {})
})

const detailsOf = ({ event, visibility }: Envelope): Payload => {
  switch (event._tag) {
    case "TicketOpened":
    case "TicketReplied":
    case "NoteAdded":
    case "TicketAssigned":
    case "TicketStatusChanged":
    case "FileAttached": {
      const { _tag, ...specifics } = event
      return { ...factsOf(visibility), ...specifics, ...(_tag === "FileAttached" ? { fileName: event.name } : {}) }
    }
    case "AttachmentWithdrawn": {
      const { audience, fileId, name, reason, ticketId } = event
      return { ...factsOf(visibility), ticketId, fileId, fileName: name, audience, reason }
    }
    // Only `notificationOf` shows it.
    case "NotificationsRead":
      return {}
    default:
      return fileDetailsOf(event)
  }
}

const factsOf = ({ after, audience, before, requesterId }: Envelope["visibility"]): Payload => ({
  status: after?.status ?? null,
  previousStatus: before?.status ?? null,
  assigneeId: after?.assigneeId ?? null,
  requesterId,
  audience
})

const fileDetailsOf = (event: FileEvent): Payload => {
  const base = { fileId: event.fileId, ...reached(event) }
  switch (event._tag) {
    case "FileReceived": {
      const { declaredType, name, sizeBytes, ticketId } = event
      return { ...base, name, sizeBytes, mediaType: declaredType, ticketId: ticketId ?? null }
    }
    case "FileIdentified":
      return { ...base, mediaType: event.mediaType, durationMs: event.durationMs }
    case "FileScanned":
    case "FileRescanned":
      return { ...base, durationMs: event.durationMs }
    case "FileConverted":
      return { ...base, detail: event.detail ?? null, durationMs: event.durationMs }
    case "FileReleased": {
      const { mediaType, sizeBytes } = event.content
      return { ...base, sizeBytes, mediaType, durationMs: event.durationMs ?? null }
    }
    case "FileRejected":
    case "FileWithdrawn":
      return { ...base, reason: event.reason, detail: event.detail, durationMs: event.durationMs ?? null }
    case "FileParked":
    case "FileRescanFailed":
      return { ...base, detail: event.detail, durationMs: event.durationMs ?? null }
    case "FileRetried":
    case "FileRescanRequested":
      return base
  }
}

const passed = {
  FileIdentified: { stage: "identify", state: "identified" },
  FileScanned: { stage: "scan", state: "scanned" },
  FileConverted: { stage: "convert", state: "converted" },
  FileReleased: { stage: "release", state: "released" },
  FileRescanRequested: { stage: "rescan", state: "released" },
  FileRescanned: { stage: "rescan", state: "released" },
  FileRescanFailed: { stage: "rescan", state: "released" },
  FileWithdrawn: { stage: "rescan", state: "withdrawn" }
} as const

const reached = (event: FileEvent): { readonly stage: TimelineStage | null; readonly state: FileState } => {
  switch (event._tag) {
    case "FileReceived":
      return { stage: null, state: "received" }
    case "FileRejected":
      return { stage: event.stage, state: "rejected" }
    case "FileParked":
      return { stage: event.stage, state: "parked" }
    case "FileRetried":
      return { stage: event.stage, state: stateBefore[event.stage] }
    default:
      return passed[event._tag]
  }
}
