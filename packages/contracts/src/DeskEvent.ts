// Every event of the desk, whichever aggregate it belongs to.
import { Schema } from "effect"
import { FileEvent } from "./attachment/Events.ts"
import { InboxEvent } from "./notification/Events.ts"
import { TicketEvent } from "./ticket/Events.ts"

export const DeskEvent = Schema.Union([TicketEvent, FileEvent, InboxEvent])
export type DeskEvent = typeof DeskEvent.Type
export type DeskEventType = DeskEvent["_tag"]
