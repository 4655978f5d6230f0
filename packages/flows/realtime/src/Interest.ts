// What a subscriber wants to hear of, and whether an event belongs to it. Pure, and decided from the event's own visibility facts
// alone: nothing is looked up, so a broken database can neither open nor close anybody's ears. What a reader may not read does not
// match, whichever subscription asks.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { FileId, PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import { isStaff, type Principal } from "@holdfast/contracts/Principal"
import type { TicketListName } from "@holdfast/contracts/ticket/Views"
import { notificationFor, notificationsOf } from "@holdfast/domain/notification/Notifications"
import { mayReadEvent } from "@holdfast/domain/Permissions"
import { type ListChange, listChange } from "@holdfast/domain/ticket/TicketLists"

export type Interest =
  | { readonly _tag: "Ticket"; readonly id: TicketId }
  | { readonly _tag: "TicketList"; readonly list: TicketListName }
  | { readonly _tag: "File"; readonly id: FileId }
  /** What the reader is told of by name, and what they have read of it. */
  | { readonly _tag: "Notifications" }

/** What the event is to this subscriber; null when it is none of theirs. */
export const changeFor = (interest: Interest, reader: Principal, envelope: Envelope): ListChange | null => {
  if (!mayReadEvent(reader, envelope.visibility)) return null
  switch (interest._tag) {
    case "Ticket":
      return isOf(envelope, "ticket", interest.id) ? changeOf(envelope) : null
    case "File":
      return isOf(envelope, "file", interest.id) ? changeOf(envelope) : null
    case "TicketList":
      return envelope.streamType === "ticket" ? listChange(interest.list, envelope.visibility, reader) : null
    case "Notifications":
      return isTold(envelope, reader) ? "entered" : null
  }
}

/**
 * Subscribers with the same interest and the same audience get the same bytes. Staff of one role read alike, except their own
 * list and notifications; a customer is an audience of one.
 */
export const audienceOf = (interest: Interest, reader: Principal): string =>
  isStaff(reader) && !isPersonal(interest) ? reader.role : `${reader.role}:${reader.id}`

const isPersonal = (interest: Interest): boolean =>
  interest._tag === "Notifications" || (interest._tag === "TicketList" && interest.list === "mine")

/** Whoever an event may be a notification for. */
export const toldOf = (envelope: Envelope): ReadonlyArray<PrincipalId> =>
  envelope.event._tag === "NotificationsRead"
    ? [envelope.event.principalId]
    : notificationsOf(envelope).map(({ recipientId }) => recipientId)

const isTold = (envelope: Envelope, reader: Principal): boolean =>
  envelope.event._tag === "NotificationsRead"
    ? envelope.event.principalId === reader.id
    : notificationFor(envelope, reader) !== null

const isOf = (envelope: Envelope, streamType: Envelope["streamType"], id: string): boolean =>
  envelope.streamType === streamType && envelope.streamId === id

const changeOf = (envelope: Envelope): ListChange => (envelope.streamVersion === 1 ? "entered" : "changed")
