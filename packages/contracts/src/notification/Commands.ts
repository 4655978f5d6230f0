// The command on one's own notifications.
import { Schema } from "effect"
import { defineCommand } from "../Command.ts"
import { EventId, Position } from "../Ids.ts"

export const ReadNotifications = defineCommand({
  name: "ReadNotifications",
  summary:
    "Mark your own notifications as read, on all your devices: those up to a position that the desk told you, those of some events, or both.",
  streamType: "inbox",
  streamIdField: "principalId",
  fields: {
    upTo: Schema.optionalKey(Position),
    eventIds: Schema.optionalKey(Schema.Array(EventId).check(Schema.isMaxLength(200)))
  },
  refusals: [],
  roles: ["admin", "supervisor", "agent", "service", "customer"],
  path: "/v1/notifications/read"
})

export const inboxCommands = [ReadNotifications] as const

export type InboxCommand = (typeof inboxCommands)[number]["command"]["Type"]
