// What a reader is shown of a record: the one place where a view becomes an answer, so a field that is not made here cannot leak. A
// customer is shown nothing that a note has changed: not the time of the last change, not the version, not a count.

import { PrincipalId } from "@holdfast/contracts/Ids"
import { isStaff, type Principal } from "@holdfast/contracts/Principal"
import type { FileJson, MessageJson, NotificationRecord, PersonJson, TicketRecord } from "@holdfast/database/ReadTables"
import { stageUnderWay, stateOfRecord } from "@holdfast/domain/attachment/Timeline"
import { mayReadPart, mayReadStream } from "@holdfast/domain/Permissions"

export interface PersonNode {
  readonly id: string
  readonly name: string | null
  readonly email: string | null
}

/** Colleagues see addresses; a customer sees their own. */
export const personNode = (viewer: Principal, { email, id, name }: PersonJson): PersonNode => ({
  id,
  name: name ?? null,
  email: email !== undefined && (isStaff(viewer) || viewer.id === id) ? email : null
})

export interface TicketNode {
  readonly id: string
  readonly version: number | null
  readonly shownVersion: number | null
  readonly number: number
  readonly subject: string
  readonly status: string
  readonly priority: string
  readonly requester: PersonNode
  readonly assignee: PersonNode | null
  readonly messageCount: number
  readonly internalMessageCount: number | null
  readonly openedAt: string
  readonly updatedAt: string
  readonly attachments: ReadonlyArray<AttachmentNode>
}

export interface AttachmentNode {
  readonly fileId: string
  readonly name: string
  readonly audience: string
  readonly attachedAt: string
  readonly attachedByStaff: boolean
  readonly withdrawn: string | null
}

const requesterOf = ({ ticket }: TicketRecord) => PrincipalId.make(ticket.requester.id)

export const mayReadTicket = (viewer: Principal, record: TicketRecord): boolean =>
  mayReadStream(viewer, requesterOf(record))

/** Null: not for this reader. */
export const ticketNode = (viewer: Principal, record: TicketRecord): TicketNode | null => {
  if (!mayReadTicket(viewer, record)) return null
  const { assignee, ticket } = record
  const staff = isStaff(viewer)
  return {
    id: ticket.id,
    version: staff ? ticket.version : null,
    shownVersion: staff ? ticket.version : (ticket.publicVersion ?? null),
    number: ticket.number,
    subject: ticket.subject,
    status: ticket.status,
    priority: ticket.priority,
    requester: personNode(viewer, ticket.requester),
    assignee: assignee === null ? null : personNode(viewer, assignee),
    messageCount: ticket.publicMessageCount + (staff ? ticket.internalMessageCount : 0),
    internalMessageCount: staff ? ticket.internalMessageCount : null,
    openedAt: ticket.openedAt,
    updatedAt: staff ? ticket.updatedAt : ticket.publicUpdatedAt,
    attachments: ticket.attachments.length === 0 ? [] : readableAttachments(viewer, record)
  }
}

const readableAttachments = (viewer: Principal, record: TicketRecord): ReadonlyArray<AttachmentNode> =>
  record.ticket.attachments
    .filter(({ audience }) => mayReadPart(viewer, requesterOf(record), audience))
    .map((attachment) => ({
      ...attachment,
      attachedByStaff: attachment.attachedByStaff ?? false,
      withdrawn: attachment.withdrawn ?? null
    }))

export const messageNode = (viewer: Principal, message: MessageJson) => ({
  id: message.id,
  audience: message.audience,
  author: personNode(viewer, message.author),
  body: message.body,
  sentAt: message.sentAt
})

export interface NotificationNode {
  readonly eventId: string
  readonly position: number
  readonly kind: string
  readonly actor: PersonNode
  readonly occurredAt: string
  readonly readAt: string | null
  readonly ticketId: string | null
  readonly fileId: string | null
}

/** Those of this reader that they may read. */
export const notificationNode = (viewer: Principal, record: NotificationRecord): NotificationNode => {
  const { actor, occurredAtMs, readAtMs, ...rest } = record
  return {
    ...rest,
    actor: personNode(viewer, actor),
    occurredAt: new Date(occurredAtMs).toISOString(),
    readAt: readAtMs === null ? null : new Date(readAtMs).toISOString()
  }
}

export const mayReadFile = (viewer: Principal, file: FileJson): boolean =>
  mayReadStream(viewer, PrincipalId.make(file.ownerId))

/**
 * Staff have shown this file to this reader. Who may read an attachment may open its file, if staff attached it: a customer, who may
 * attach any id to a ticket of their own, would otherwise open files by naming them.
 */
export const isShownFile = (viewer: Principal, fileId: string, record: TicketRecord): boolean =>
  mayReadTicket(viewer, record) &&
  readableAttachments(viewer, record).some((one) => one.fileId === fileId && one.attachedByStaff)

/**
 * The way of a file as a reader is told of it. That it is looked at again after its release, and by which tools of which versions, is the
 * desk's own matter; what became of it is not.
 */
export const wayOf = (viewer: Principal, file: FileJson) => {
  const staff = isStaff(viewer)
  const stage = stageUnderWay(file)
  const isTold = stage !== null && (staff || stage !== "rescan")
  return {
    underWay: isTold ? { stage, since: file.timeline.at(-1)?.at ?? file.receivedAt } : null,
    timeline: file.timeline
      .filter(({ outcome, stage }) => staff || stage !== "rescan" || outcome === "withdrawn")
      .map((record) => ({
        ...record,
        state: stateOfRecord(record),
        tool: staff ? record.tool : null,
        detail: staff || record.stage !== "scan" || record.outcome !== "passed" ? record.detail : null
      }))
  }
}
