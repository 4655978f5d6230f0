// Sample events of every type, with the visibility that the desk would give them. The record is complete by its type: a new event
// does not compile until it has a sample, and so is in every test that goes over all of them.
import type { DeskEvent, DeskEventType } from "@holdfast/contracts/DeskEvent"
import { Envelope, type Visibility } from "@holdfast/contracts/Envelope"
import { FileId, PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import { Principal } from "@holdfast/contracts/Principal"
import { inboxIdOf } from "@holdfast/domain/DerivedId"
import { Schema } from "effect"

export const uuid = (kind: string, n: number): string =>
  `${kind.padStart(8, "0")}-0000-7000-8000-${n.toString(16).padStart(12, "0")}`

export const ticketId = (n: number) => TicketId.make(uuid("a", n))
export const fileId = (n: number) => FileId.make(uuid("f", n))

export const agent = Principal.make({
  id: PrincipalId.make("agent-1"),
  role: "agent",
  name: "Ada",
  email: "ada@desk.test"
})
export const otherAgent = Principal.make({ id: PrincipalId.make("agent-2"), role: "agent" })
export const customer = Principal.make({ id: PrincipalId.make("customer-1"), role: "customer" })
export const otherCustomer = Principal.make({ id: PrincipalId.make("customer-2"), role: "customer" })
export const service = Principal.make({ id: PrincipalId.make("service-1"), role: "service" })
export const principals = [agent, otherAgent, customer, otherCustomer, service] as const

const sha256 = "0".repeat(64)
const tool = { name: "tool", version: "1" }

const encoded = (n: number): Record<DeskEventType, Record<string, unknown>> => {
  const ticket = { ticketId: ticketId(n) }
  const file = { fileId: fileId(n) }
  const message = { messageId: uuid("e", n), body: `body ${n} with “quotes” and \n lines` }
  return {
    TicketOpened: {
      ...ticket,
      ...message,
      number: n + 1,
      subject: "Printer",
      priority: "normal",
      requester: { id: "customer-1" }
    },
    TicketReplied: { ...ticket, ...message },
    NoteAdded: { ...ticket, ...message },
    TicketAssigned: { ...ticket, assigneeId: "agent-1" },
    TicketStatusChanged: { ...ticket, from: "open", to: "solved" },
    FileAttached: { ...ticket, ...file, name: "a.png", audience: "public" },
    AttachmentWithdrawn: { ...ticket, ...file, name: "a.png", audience: "public", reason: "malware" },
    FileReceived: { ...file, name: "a.png", sizeBytes: 1, sha256, declaredType: "image/png", ownerId: "customer-1" },
    FileIdentified: { ...file, mediaType: "image/png", tool, durationMs: 1 },
    FileScanned: { ...file, tool, durationMs: 1 },
    FileConverted: { ...file, derivatives: [], tool, durationMs: 1 },
    FileReleased: { ...file, content: { sha256, sizeBytes: 1, mediaType: "image/png" } },
    FileRejected: { ...file, stage: "scan", reason: "malware", detail: "Eicar", tool, durationMs: 1 },
    FileParked: { ...file, stage: "scan", detail: "the scanner is away" },
    FileRetried: { ...file, stage: "scan" },
    FileRescanRequested: file,
    FileRescanned: { ...file, tool, inspector: tool, durationMs: 1 },
    FileRescanFailed: { ...file, detail: "the content is damaged", tool, durationMs: 1 },
    FileWithdrawn: { ...file, reason: "malware", detail: "Eicar", tool, durationMs: 1 },
    NotificationsRead: { principalId: "customer-1", upTo: n }
  }
}

export const eventTypes = Object.keys(encoded(0)).filter((type): type is DeskEventType => type !== "")

const internal: ReadonlySet<string> = new Set(["NoteAdded", "FileRescanRequested", "FileRescanned", "FileRescanFailed"])

const isFile = (type: DeskEvent["_tag"]): boolean => type.startsWith("File") && type !== "FileAttached"

const isTicket = (type: DeskEvent["_tag"]): boolean => !isFile(type) && type !== "NotificationsRead"

const streamOf = (type: DeskEvent["_tag"], n: number) => {
  if (type === "NotificationsRead") return { streamType: "inbox", streamId: inboxIdOf(customer.id) }
  return isFile(type) ? { streamType: "file", streamId: fileId(n) } : { streamType: "ticket", streamId: ticketId(n) }
}

const decode = Schema.decodeUnknownSync(Envelope)

export interface Sample {
  readonly type: DeskEventType
  readonly position: number
  /** Which ticket or file. */
  readonly stream?: number
  readonly streamVersion?: number
  readonly occurredAtMs?: number
  readonly visibility?: Partial<Visibility>
  readonly body?: string
}

export const envelope = (sample: Sample): Envelope => {
  const { position, stream = 0, type } = sample
  const after = { status: "open", assigneeId: null, requesterId: "customer-1" } as const
  const data = { ...encoded(stream)[type], ...(sample.body === undefined ? {} : { body: sample.body }) }
  return decode({
    eventId: uuid("b", position),
    ...streamOf(type, stream),
    streamVersion: sample.streamVersion ?? (type === "TicketOpened" || type === "FileReceived" ? 1 : 2),
    schemaVersion: 1,
    position,
    occurredAt: new Date(sample.occurredAtMs ?? Date.now()).toISOString(),
    principal: agent,
    commandId: uuid("c", position),
    correlationId: uuid("d", position),
    causationId: null,
    traceparent: null,
    visibility: {
      audience: internal.has(type) ? "internal" : "public",
      requesterId: "customer-1",
      before: !isTicket(type) || type === "TicketOpened" ? null : after,
      after: isTicket(type) ? after : null,
      ...sample.visibility
    },
    event: { _tag: type, ...data }
  })
}
