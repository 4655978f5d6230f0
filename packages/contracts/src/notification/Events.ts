// What can happen to somebody's notifications. That there is one follows from the event that it is about and is no event of its own.
import { Schema } from "effect"
import { EventId, Position, PrincipalId } from "../Ids.ts"

/** Everything up to and with `upTo`, and the notifications of these events. */
export const NotificationsRead = Schema.TaggedStruct("NotificationsRead", {
  principalId: PrincipalId,
  upTo: Schema.optionalKey(Position),
  eventIds: Schema.optionalKey(Schema.Array(EventId).check(Schema.isMaxLength(200)))
})
export type NotificationsRead = typeof NotificationsRead.Type

export const InboxEvent = Schema.Union([NotificationsRead])
export type InboxEvent = typeof InboxEvent.Type
