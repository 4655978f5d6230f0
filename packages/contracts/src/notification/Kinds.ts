// Why somebody is told of an event.
import { Schema } from "effect"

/**
 * assigned: a ticket was given to them. mentioned: a message names them. replied: the requester answered on a ticket of theirs, or the desk
 * on a ticket that they asked for. fileRejected: a file that they uploaded was rejected.
 */
export const NotificationKind = Schema.Literals(["assigned", "mentioned", "replied", "fileRejected"])
export type NotificationKind = typeof NotificationKind.Type
