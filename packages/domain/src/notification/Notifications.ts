// Who is told of an event, and why: a pure function of the event and its visibility facts. Nobody is told of what they may not read, nor of
// what they did themselves. An event does not say what the people are whom it names, so whether one of them may read it is asked once it is
// known who they are: `notificationFor` asks it, and whoever shows kept notifications must.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { PrincipalId } from "@holdfast/contracts/Ids"
import type { NotificationKind } from "@holdfast/contracts/notification/Kinds"
import { isStaff, type Principal } from "@holdfast/contracts/Principal"
import { mayReadEvent } from "../Permissions.ts"

export interface Notification {
  readonly recipientId: PrincipalId
  readonly kind: NotificationKind
}

/** Each recipient once; who is named and answered is told that they are named. */
export const notificationsOf = (envelope: Envelope): ReadonlyArray<Notification> => {
  const byRecipient = new Map<PrincipalId, Notification>()
  for (const candidate of candidatesOf(envelope)) {
    const isOwnDoing = candidate.recipientId === envelope.principal.id
    if (!isOwnDoing && !byRecipient.has(candidate.recipientId)) byRecipient.set(candidate.recipientId, candidate)
  }
  return [...byRecipient.values()]
}

/** Null: none for this reader. */
export const notificationFor = (envelope: Envelope, reader: Principal): NotificationKind | null => {
  if (!mayReadEvent(reader, envelope.visibility)) return null
  return notificationsOf(envelope).find(({ recipientId }) => recipientId === reader.id)?.kind ?? null
}

const candidatesOf = ({ event, principal, visibility }: Envelope): ReadonlyArray<Notification> => {
  switch (event._tag) {
    case "TicketAssigned":
      return [{ recipientId: event.assigneeId, kind: "assigned" }]
    case "NoteAdded":
      return mentioned(event.mentions)
    case "TicketReplied":
      return [...mentioned(event.mentions), ...answered(principal, visibility)]
    case "FileRejected":
      return [{ recipientId: visibility.requesterId, kind: "fileRejected" }]
    default:
      return []
  }
}

const mentioned = (mentions: ReadonlyArray<PrincipalId> = []): ReadonlyArray<Notification> =>
  mentions.map((recipientId) => ({ recipientId, kind: "mentioned" }))

/** The requester's words are for whoever has the ticket; the desk's are for the requester. */
const answered = (
  principal: Principal,
  { after, requesterId }: Envelope["visibility"]
): ReadonlyArray<Notification> => {
  if (isStaff(principal) && principal.id !== requesterId) return [{ recipientId: requesterId, kind: "replied" }]
  const assigneeId = after?.assigneeId ?? null
  return assigneeId === null ? [] : [{ recipientId: assigneeId, kind: "replied" }]
}
