// The fixed status categories and priorities of a ticket.
import { Schema } from "effect"

export const TicketStatus = Schema.Literals(["new", "open", "pending", "on_hold", "solved", "closed"])
export type TicketStatus = typeof TicketStatus.Type

export const TicketPriority = Schema.Literals(["low", "normal", "high", "urgent"])
export type TicketPriority = typeof TicketPriority.Type

/** Public: the requester may read it. Internal: staff only. */
export const Audience = Schema.Literals(["public", "internal"])
export type Audience = typeof Audience.Type
