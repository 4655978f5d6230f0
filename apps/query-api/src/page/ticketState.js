// @ts-check
// One ticket as it is shown: a snapshot, then each change of the feed applied to it. Pure. What the snapshot holds already changes nothing,
// so a snapshot and a feed that overlap show nothing twice.

/**
 * @typedef {{ id: string, name: string | null }} Person
 * @typedef {{ id: string, audience: string, author: Person, body: string, sentAt: string }} Message
 * @typedef {{ id: string, state: string, sizeBytes?: number, rejection?: { reason: string, detail: string } | null, underWay?: { stage: string } | null }} File
 * @typedef {{ fileId: string, name: string, audience: string, attachedAt: string, withdrawn: string | null, file: File | null }} Attachment
 * @typedef {{ id: string, number: number, subject: string, status: string, priority: string, requester: Person, assignee: Person | null,
 *   openedAt: string, updatedAt: string, attachments: ReadonlyArray<Attachment>, messages: ReadonlyArray<Message>, position: number }} Ticket
 * @typedef {{ position: number, type: string, occurredAt: string, actor: Person, status: string | null, assigneeId: string | null,
 *   audience: string, messageId: string | null, body: string | null, fileId: string | null, fileName: string | null, reason: string | null }} TicketChange
 * @typedef {{ position: number, type: string, fileId: string, state: string, stage: string | null, reason: string | null, detail: string | null }} FileChange
 */

/** @param {Ticket} ticket @param {TicketChange} change @returns {Ticket} */
export const ticketAfter = (ticket, change) => {
  if (change.position <= ticket.position) return ticket
  return {
    ...ticket,
    position: change.position,
    status: change.status ?? ticket.status,
    assignee: assigneeAfter(ticket, change),
    updatedAt: change.occurredAt,
    messages: messagesAfter(ticket.messages, change),
    attachments: attachmentsAfter(ticket.attachments, change)
  }
}

/** The feed tells an id; a name only of who acted. @param {Ticket} ticket @param {TicketChange} change @returns {Person | null} */
const assigneeAfter = ({ assignee, messages }, { actor, assigneeId }) => {
  if (assigneeId === null || assigneeId === assignee?.id) return assigneeId === null ? null : assignee
  const known = [actor, ...messages.map(({ author }) => author)].find(({ id }) => id === assigneeId)
  return known ?? { id: assigneeId, name: null }
}

/** @param {ReadonlyArray<Message>} messages @param {TicketChange} change */
const messagesAfter = (messages, { actor, audience, body, messageId, occurredAt }) => {
  if (messageId === null || body === null || messages.some(({ id }) => id === messageId)) return messages
  return [...messages, { id: messageId, audience, author: actor, body, sentAt: occurredAt }]
}

/** @param {ReadonlyArray<Attachment>} attachments @param {TicketChange} change @returns {ReadonlyArray<Attachment>} */
const attachmentsAfter = (attachments, { audience, fileId, fileName, occurredAt, reason, type }) => {
  if (fileId === null) return attachments
  if (type === "AttachmentWithdrawn") {
    return attachments.map((one) => (one.fileId === fileId ? { ...one, withdrawn: reason ?? "withdrawn" } : one))
  }
  if (type !== "FileAttached" || attachments.some((one) => one.fileId === fileId)) return attachments
  return [
    ...attachments,
    { fileId, name: fileName ?? fileId, audience, attachedAt: occurredAt, withdrawn: null, file: null }
  ]
}

/** @param {Ticket} ticket @param {FileChange} change @returns {Ticket} */
export const ticketAfterFile = (ticket, { detail, fileId, reason, state }) => ({
  ...ticket,
  attachments: ticket.attachments.map((one) => {
    if (one.fileId !== fileId) return one
    const rejection = reason === null ? (one.file?.rejection ?? null) : { reason, detail: detail ?? "" }
    return { ...one, file: { ...one.file, id: fileId, state, rejection } }
  })
})

/** @param {Attachment} attachment */
export const isUnderWay = ({ file, withdrawn }) =>
  withdrawn === null && !["released", "rejected", "withdrawn"].includes(file?.state ?? "received")

const stateWords = new Map([
  ["received", "received, waits to be identified"],
  ["identified", "identified, waits for the scanner"],
  ["scanned", "scanned and clean, is being converted"],
  ["converted", "converted, is being released"],
  ["released", "released"],
  ["parked", "parked: a person has to look at it"]
])

/** @param {Attachment} attachment */
export const fileWords = ({ file, withdrawn }) => {
  if (withdrawn !== null) return `withdrawn: ${withdrawn}`
  if (file === null) return "uploaded, waits for its turn"
  const why = file.rejection === null || file.rejection === undefined ? "" : `: ${reasonOf(file.rejection)}`
  if (file.state === "rejected" || file.state === "withdrawn") return `${file.state}${why}`
  return stateWords.get(file.state) ?? file.state
}

/** @param {{ reason: string, detail: string }} rejection */
const reasonOf = ({ detail, reason }) => (detail === "" ? reason.replaceAll("_", " ") : detail)
