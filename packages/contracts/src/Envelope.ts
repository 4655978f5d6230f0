// An event with everything its readers need: where it stands, who caused it, how it is traced, and who may see it. The visibility
// facts are as they were right after the event, so no reader ever looks anything up to filter. On the wire it is a CloudEvent
// (see CloudEvent.ts).
import { Schema } from "effect"
import { StreamType } from "./Command.ts"
import { DeskEvent } from "./DeskEvent.ts"
import { CommandId, CorrelationId, EventId, Position, PrincipalId, StreamId, StreamVersion } from "./Ids.ts"
import { Principal } from "./Principal.ts"
import { Audience, TicketStatus } from "./ticket/Status.ts"

/** What decides which lists a ticket is in. */
export const TicketFacts = Schema.Struct({
  status: TicketStatus,
  assigneeId: Schema.NullOr(PrincipalId),
  requesterId: PrincipalId
})
export type TicketFacts = typeof TicketFacts.Type

export const Visibility = Schema.Struct({
  audience: Audience,
  /** The customer who may see public events of this stream: a ticket's requester, a file's owner, an inbox's person. */
  requesterId: PrincipalId,
  /** Ticket events: before (null when it did not exist) and after. */
  before: Schema.NullOr(TicketFacts),
  after: Schema.NullOr(TicketFacts)
})
export type Visibility = typeof Visibility.Type

/** W3C Trace Context, version 00. */
export const Traceparent = Schema.String.check(
  Schema.isPattern(/^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/, { expected: "a W3C traceparent" })
)

export const Envelope = Schema.Struct({
  eventId: EventId,
  streamType: StreamType,
  streamId: StreamId,
  streamVersion: StreamVersion,
  schemaVersion: Schema.Int,
  position: Position,
  occurredAt: Schema.DateTimeUtcFromString,
  principal: Principal,
  commandId: CommandId,
  correlationId: CorrelationId,
  causationId: Schema.NullOr(EventId),
  traceparent: Schema.NullOr(Traceparent),
  visibility: Visibility,
  event: DeskEvent
})
export type Envelope = typeof Envelope.Type
