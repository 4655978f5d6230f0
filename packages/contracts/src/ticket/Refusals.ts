// Why a ticket command was refused. Each states a fact; the status says how HTTP tells it.
import { Schema } from "effect"
import { PrincipalId, TicketId } from "../Ids.ts"
import { TicketStatus } from "./Status.ts"

export class TicketNotFound extends Schema.TaggedError<TicketNotFound>()(
  "TicketNotFound",
  { ticketId: TicketId },
  { httpApiStatus: 404, title: "There is no such ticket, or you may not see it." }
) {}

export class TicketAlreadyExists extends Schema.TaggedError<TicketAlreadyExists>()(
  "TicketAlreadyExists",
  { ticketId: TicketId },
  { httpApiStatus: 409, title: "A ticket with this id exists already; use a fresh commandId." }
) {}

export class TicketNotOpen extends Schema.TaggedError<TicketNotOpen>()(
  "TicketNotOpen",
  { ticketId: TicketId },
  { httpApiStatus: 409, title: "The ticket is closed; open a new one." }
) {}

export class TicketAlreadyClaimed extends Schema.TaggedError<TicketAlreadyClaimed>()(
  "TicketAlreadyClaimed",
  { ticketId: TicketId, assigneeId: PrincipalId },
  { httpApiStatus: 409, title: "Somebody else holds this ticket; ask for an assignment instead." }
) {}

export class StatusChangeNotAllowed extends Schema.TaggedError<StatusChangeNotAllowed>()(
  "StatusChangeNotAllowed",
  { ticketId: TicketId, from: TicketStatus, to: TicketStatus },
  { httpApiStatus: 409, title: "A ticket cannot go from this status to that one." }
) {}
