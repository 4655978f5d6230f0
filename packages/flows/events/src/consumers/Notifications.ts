// What an event means for people's notifications, as rows of the read database.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { toPersonRef } from "@holdfast/contracts/Principal"
import type { NotificationRow, NotificationsSeen } from "@holdfast/database/ReadTables"
import { notificationsOf } from "@holdfast/domain/notification/Notifications"
import { DateTime } from "effect"

export const notificationsIn = (envelope: Envelope): ReadonlyArray<NotificationRow> =>
  notificationsOf(envelope).map(({ kind, recipientId }) => ({
    recipientId,
    kind,
    visibility: envelope.visibility,
    eventId: envelope.eventId,
    position: envelope.position,
    actor: toPersonRef(envelope.principal),
    ticketId: envelope.streamType === "ticket" ? envelope.streamId : null,
    fileId: envelope.streamType === "file" ? envelope.streamId : null,
    occurredAtMs: DateTime.toEpochMillis(envelope.occurredAt)
  }))

export const seenIn = ({ event, occurredAt, position }: Envelope): ReadonlyArray<NotificationsSeen> => {
  if (event._tag !== "NotificationsRead") return []
  const { eventIds = [], principalId, upTo = null } = event
  return [{ principalId, upTo, eventIds, position, atMs: DateTime.toEpochMillis(occurredAt) }]
}
