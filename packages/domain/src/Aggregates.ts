// Which decider a command belongs to, and the facts about an event that its readers filter by. The command flow needs nothing
// else of the domain to handle any command.

import type { FileEvent } from "@holdfast/contracts/attachment/Events"
import type { DeskCommand, DeskRefusal } from "@holdfast/contracts/Commands"
import type { DeskEvent } from "@holdfast/contracts/DeskEvent"
import type { TicketFacts, Visibility } from "@holdfast/contracts/Envelope"
import type { TicketEvent } from "@holdfast/contracts/ticket/Events"
import { Result, Schema } from "effect"
import { Attachment, AttachmentDecider } from "./attachment/Attachment.ts"
import { type DecisionContext, evolveAll } from "./Decider.ts"
import { Inbox, InboxDecider } from "./notification/Inbox.ts"
import { Ticket, TicketDecider } from "./ticket/Ticket.ts"

/** The stored state of any aggregate. */
export const AggregateState = Schema.Union([Ticket, Attachment, Inbox])
export type AggregateState = Ticket | Attachment | Inbox

export interface Decision {
  readonly events: ReadonlyArray<DeskEvent>
  readonly visibilities: ReadonlyArray<Visibility>
  readonly state: AggregateState | null
}

const isTicket = (state: AggregateState | null): state is Ticket => state !== null && "ticketId" in state
const isInbox = (state: AggregateState | null): state is Inbox => state !== null && "readerId" in state
const isAttachment = (state: AggregateState | null): state is Attachment => state !== null && "ownerId" in state

/** Decides a command on the stored state. A state of the other kind means that two aggregates share an id: it counts as absent, and the store then refuses the append. */
export const decideCommand = (
  state: AggregateState | null,
  command: DeskCommand,
  context: DecisionContext
): Result.Result<Decision, DeskRefusal> => {
  switch (command._tag) {
    case "RegisterFile":
    case "RecordFileStages":
    case "RetryFile":
    case "RescanFile":
    case "RecordFileRescan":
    case "WithdrawFile":
      return decideFile(isAttachment(state) ? state : null, command, context)
    case "ReadNotifications":
      return decideInbox(isInbox(state) ? state : null, command, context)
    default:
      return decideTicket(isTicket(state) ? state : null, command, context)
  }
}

const decideTicket = (
  before: Ticket | null,
  command: Parameters<typeof TicketDecider.decide>[1],
  context: DecisionContext
): Result.Result<Decision, DeskRefusal> =>
  Result.map(TicketDecider.decide(before, command, context), (events) => {
    let state = before
    const visibilities = events.map((event): Visibility => {
      const previous = state
      state = TicketDecider.evolve(state, event)
      const after = factsOf(state)
      return {
        audience: audienceOfTicketEvent(event),
        requesterId: after?.requesterId ?? context.principal.id,
        before: factsOf(previous),
        after
      }
    })
    return { events, visibilities, state }
  })

const audienceOfTicketEvent = (event: TicketEvent): Visibility["audience"] => {
  switch (event._tag) {
    case "NoteAdded":
      return "internal"
    case "FileAttached":
    case "AttachmentWithdrawn":
      return event.audience
    default:
      return "public"
  }
}

const factsOf = (state: Ticket | null): TicketFacts | null =>
  state === null ? null : { status: state.status, assigneeId: state.assigneeId, requesterId: state.requester.id }

/** What somebody has read is theirs alone. */
const decideInbox = (
  before: Inbox | null,
  command: Parameters<typeof InboxDecider.decide>[1],
  context: DecisionContext
): Result.Result<Decision, DeskRefusal> =>
  Result.map(InboxDecider.decide(before, command, context), (events) => ({
    events,
    visibilities: events.map(({ principalId }) => ({
      audience: "public",
      requesterId: principalId,
      before: null,
      after: null
    })),
    state: evolveAll(InboxDecider, before, events)
  }))

const decideFile = (
  before: Attachment | null,
  command: Parameters<typeof AttachmentDecider.decide>[1],
  context: DecisionContext
): Result.Result<Decision, DeskRefusal> =>
  Result.map(AttachmentDecider.decide(before, command, context), (events) => {
    const state = evolveAll(AttachmentDecider, before, events)
    const requesterId = state?.ownerId ?? context.principal.id
    return {
      events,
      visibilities: events.map((event) => ({
        audience: internalFileEvents.has(event._tag) ? "internal" : "public",
        requesterId,
        before: null,
        after: null
      })),
      state
    }
  })

/** That a released file is looked at again is the desk's own matter for as long as nothing is found. */
const internalFileEvents: ReadonlySet<FileEvent["_tag"]> = new Set<FileEvent["_tag"]>([
  "FileRescanRequested",
  "FileRescanned",
  "FileRescanFailed"
])
