// One envelope of every event type, with every optional field in use somewhere. The types see to it that none is missing.
import { DateTime } from "effect"
import {
  FileConverted,
  FileIdentified,
  FileParked,
  FileReceived,
  FileRejected,
  FileReleased,
  FileRescanFailed,
  FileRescanned,
  FileRescanRequested,
  FileRetried,
  FileScanned,
  FileWithdrawn
} from "../src/attachment/Events.ts"
import type { DeskEvent, DeskEventType } from "../src/DeskEvent.ts"
import type { Envelope, Visibility } from "../src/Envelope.ts"
import {
  CommandId,
  CorrelationId,
  EventId,
  FileId,
  MessageId,
  Position,
  PrincipalId,
  Sha256,
  StreamId,
  StreamVersion,
  TicketId
} from "../src/Ids.ts"
import { NotificationsRead } from "../src/notification/Events.ts"
import type { Principal } from "../src/Principal.ts"
import {
  AttachmentWithdrawn,
  FileAttached,
  NoteAdded,
  TicketAssigned,
  TicketOpened,
  TicketReplied,
  TicketStatusChanged
} from "../src/ticket/Events.ts"

const uuid = (last: number) => `019a0000-0000-7000-8000-${String(last).padStart(12, "0")}`
const ticketId = TicketId.make(uuid(1))
const fileId = FileId.make(uuid(2))
const messageId = MessageId.make(uuid(3))
const ada = PrincipalId.make("ada")
const carol = PrincipalId.make("carol@example.com")
const sha256 = Sha256.make("ab".repeat(32))
const other = Sha256.make("cd".repeat(32))
const tool = { name: "clamav", version: "1.4.2", signatureVersion: "27500" }
const sharp = { name: "sharp", version: "0.35.5" }

type Samples = { readonly [T in DeskEventType]: Extract<DeskEvent, { readonly _tag: T }> }

const events: Samples = {
  TicketOpened: TicketOpened.make({
    ticketId,
    number: 4711,
    subject: "Printer on floor 2 äöü 印刷",
    priority: "high",
    requester: { id: carol, name: "Carol", email: "carol@example.com" },
    messageId,
    body: 'It says "PC LOAD LETTER".\nWhat does that mean?\t😀'
  }),
  TicketReplied: TicketReplied.make({ ticketId, messageId, body: "Paper." }),
  NoteAdded: NoteAdded.make({ ticketId, messageId, body: "Third time this week." }),
  TicketAssigned: TicketAssigned.make({ ticketId, assigneeId: ada }),
  TicketStatusChanged: TicketStatusChanged.make({ ticketId, from: "open", to: "solved" }),
  FileAttached: FileAttached.make({ ticketId, fileId, name: "photo.jpg", audience: "internal" }),
  AttachmentWithdrawn: AttachmentWithdrawn.make({
    ticketId,
    fileId,
    name: "photo.jpg",
    audience: "internal",
    reason: "malware"
  }),
  FileReceived: FileReceived.make({
    fileId,
    name: "photo.jpg",
    sizeBytes: 4_294_967_296,
    sha256,
    declaredType: "image/jpeg",
    ownerId: carol,
    ticketId
  }),
  FileIdentified: FileIdentified.make({ fileId, mediaType: "image/jpeg", tool: sharp, durationMs: 3 }),
  FileScanned: FileScanned.make({ fileId, tool, durationMs: 41 }),
  FileConverted: FileConverted.make({
    fileId,
    derivatives: [
      { kind: "original", sha256: other, sizeBytes: 1000, mediaType: "image/jpeg" },
      { kind: "thumbnail", sha256: other, sizeBytes: 100, mediaType: "image/webp" }
    ],
    tool: sharp,
    durationMs: 120
  }),
  FileReleased: FileReleased.make({ fileId, content: { sha256: other, sizeBytes: 1000, mediaType: "image/jpeg" } }),
  FileRejected: FileRejected.make({
    fileId,
    stage: "scan",
    reason: "malware",
    detail: "Eicar-Signature",
    tool,
    durationMs: 40
  }),
  FileParked: FileParked.make({ fileId, stage: "convert", detail: "the converter was killed" }),
  FileRetried: FileRetried.make({ fileId, stage: "convert" }),
  FileRescanRequested: FileRescanRequested.make({ fileId }),
  FileRescanned: FileRescanned.make({ fileId, tool, inspector: sharp, durationMs: 38 }),
  FileRescanFailed: FileRescanFailed.make({ fileId, detail: "the content is damaged", tool, durationMs: 2 }),
  FileWithdrawn: FileWithdrawn.make({ fileId, reason: "malware", detail: "Eicar-Signature", tool, durationMs: 40 }),
  NotificationsRead: NotificationsRead.make({
    principalId: carol,
    upTo: Position.make(4_711),
    eventIds: [EventId.make(uuid(14))]
  })
}

const agent: Principal = { id: ada, role: "agent", name: "Ada", email: "ada@example.com" }
const service: Principal = { id: PrincipalId.make("file-worker"), role: "service" }

const ticketVisibility = (event: DeskEvent): Visibility => ({
  audience: internal.has(event._tag) ? "internal" : "public",
  requesterId: carol,
  before: event._tag === "TicketOpened" ? null : { status: "open", assigneeId: null, requesterId: carol },
  after: { status: "open", assigneeId: event._tag === "TicketAssigned" ? ada : null, requesterId: carol }
})

const internal: ReadonlySet<string> = new Set([
  "NoteAdded",
  "FileAttached",
  "AttachmentWithdrawn",
  "FileRescanRequested",
  "FileRescanned",
  "FileRescanFailed"
])

const envelopeOf = (event: DeskEvent): Envelope => {
  if (event._tag === "NotificationsRead") return inboxEnvelopeOf(event)
  const isFile = "fileId" in event && event._tag !== "FileAttached" && event._tag !== "AttachmentWithdrawn"
  return {
    eventId: EventId.make(uuid(10)),
    streamType: isFile ? "file" : "ticket",
    streamId: StreamId.make(isFile ? fileId : ticketId),
    streamVersion: StreamVersion.make(7),
    schemaVersion: 1,
    position: Position.make(9_007_199_254_740_991),
    occurredAt: DateTime.makeUnsafe("2026-01-02T03:04:05.678Z"),
    principal: isFile ? service : agent,
    commandId: CommandId.make(uuid(11)),
    correlationId: CorrelationId.make(uuid(12)),
    causationId: isFile ? EventId.make(uuid(13)) : null,
    traceparent: isFile ? null : "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    visibility: isFile
      ? { audience: internal.has(event._tag) ? "internal" : "public", requesterId: carol, before: null, after: null }
      : ticketVisibility(event),
    event
  }
}

/** Somebody's own. */
const inboxEnvelopeOf = (event: NotificationsRead): Envelope => ({
  ...envelopeOf(events.TicketReplied),
  streamType: "inbox",
  streamId: StreamId.make(uuid(4)),
  principal: { id: carol, role: "customer" },
  visibility: { audience: "public", requesterId: carol, before: null, after: null },
  event
})

export const samples: ReadonlyArray<Envelope> = Object.values(events).map(envelopeOf)
