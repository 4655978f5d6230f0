// What may happen to a ticket. The state holds only what decisions need; conversations live in the views.
import { FileId, MessageId, PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import { isStaff, PersonRef, toPersonRef } from "@holdfast/contracts/Principal"
import type { TicketCommand, TicketRefusal } from "@holdfast/contracts/ticket/Commands"
import {
  AttachmentWithdrawn,
  FileAttached,
  NoteAdded,
  TicketAssigned,
  type TicketEvent,
  TicketOpened,
  TicketReplied,
  TicketStatusChanged
} from "@holdfast/contracts/ticket/Events"
import {
  StatusChangeNotAllowed,
  TicketAlreadyClaimed,
  TicketAlreadyExists,
  TicketNotFound,
  TicketNotOpen
} from "@holdfast/contracts/ticket/Refusals"
import { TicketStatus } from "@holdfast/contracts/ticket/Status"
import { Result, Schema } from "effect"
import type { Decider, DecisionContext } from "../Decider.ts"
import { mayReadStream } from "../Permissions.ts"

export const Ticket = Schema.Struct({
  ticketId: TicketId,
  number: Schema.Int,
  requester: PersonRef,
  status: TicketStatus,
  assigneeId: Schema.NullOr(PrincipalId),
  /** The newest attachments, so that attaching one twice is no news. */
  fileIds: Schema.Array(FileId),
  /** The newest withdrawn ones among them, so that telling of one twice is no news. Absent in states older than this field. */
  withdrawnFileIds: Schema.optionalKey(Schema.Array(FileId))
})
export type Ticket = typeof Ticket.Type

type Decision = Result.Result<ReadonlyArray<TicketEvent>, TicketRefusal>
type OpenTicket = Extract<TicketCommand, { readonly _tag: "OpenTicket" }>
type WithdrawAttachment = Extract<TicketCommand, { readonly _tag: "WithdrawAttachment" }>
type OnTicket = Exclude<TicketCommand, OpenTicket | WithdrawAttachment>

const fileIdsMax = 200

const decide = (state: Ticket | null, command: TicketCommand, context: DecisionContext): Decision => {
  if (command._tag === "OpenTicket") return open(state, command, context)
  const { ticketId } = command
  if (state === null || !mayReadStream(context.principal, state.requester.id)) {
    return Result.fail(new TicketNotFound({ ticketId }))
  }
  // What became of a file is a fact, also where nobody may add to the conversation any more.
  if (command._tag === "WithdrawAttachment") return Result.succeed(withdrawAttachment(state, command, context))
  if (state.status === "closed") return Result.fail(new TicketNotOpen({ ticketId }))
  return change(state, command, context)
}

const open = (state: Ticket | null, command: OpenTicket, context: DecisionContext): Decision => {
  const ticketId = TicketId.make(context.commandId)
  if (state !== null) return Result.fail(new TicketAlreadyExists({ ticketId }))
  const own = toPersonRef(context.principal)
  return Result.succeed([
    TicketOpened.make({
      ticketId,
      number: context.number,
      subject: command.subject,
      priority: command.priority ?? "normal",
      requester: isStaff(context.principal) ? (command.requester ?? own) : own,
      messageId: MessageId.make(context.commandId),
      body: command.body
    })
  ])
}

const change = (state: Ticket, command: OnTicket, context: DecisionContext): Decision => {
  const { ticketId } = command
  switch (command._tag) {
    case "ReplyToTicket": {
      const reply = TicketReplied.make({ ticketId, ...message(command, context) })
      return Result.succeed([reply, ...moved(state, statusAfterReply(state, context))])
    }
    case "AddNote":
      return Result.succeed([NoteAdded.make({ ticketId, ...message(command, context) })])
    case "AssignTicket":
      return Result.succeed(assigned(state, command.assigneeId))
    case "ClaimTicket":
      return claim(state, context)
    case "ChangeTicketStatus":
      return changeStatus(state, command.status)
    case "AttachFile":
      // Attaching a file twice is no news, so it is silent rather than refused.
      return Result.succeed(
        state.fileIds.includes(command.fileId)
          ? []
          : [
              FileAttached.make({
                ticketId,
                fileId: command.fileId,
                name: command.name,
                audience: isStaff(context.principal) ? (command.audience ?? "public") : "public"
              })
            ]
      )
  }
}

/** Whom a customer names is not told: a customer has no way to know the desk's people, and none to call them. */
const message = (
  { body, mentions = [] }: Extract<TicketCommand, { readonly _tag: "AddNote" | "ReplyToTicket" }>,
  { commandId, principal }: DecisionContext
) => ({
  messageId: MessageId.make(commandId),
  body,
  ...(mentions.length > 0 && isStaff(principal) ? { mentions } : {})
})

/** People are told what; staff also why. */
const withdrawAttachment = (
  state: Ticket,
  { audience, detail, fileId, name, reason, ticketId }: WithdrawAttachment,
  context: DecisionContext
): ReadonlyArray<TicketEvent> => {
  if (state.withdrawnFileIds?.includes(fileId) === true) return []
  const body = `The file "${name}" was withdrawn after its release: ${detail} (${reason}). Links to it are dead.`
  return [
    AttachmentWithdrawn.make({ ticketId, fileId, name, audience, reason }),
    NoteAdded.make({ ticketId, messageId: MessageId.make(context.commandId), body })
  ]
}

/** The requester's reply brings the ticket back to the desk; the first answer of staff opens it. */
const statusAfterReply = (state: Ticket, { principal }: DecisionContext): TicketStatus => {
  if (!isStaff(principal)) return state.status === "new" ? "new" : "open"
  return state.status === "new" ? "open" : state.status
}

const moved = (state: Ticket, to: TicketStatus): ReadonlyArray<TicketEvent> =>
  state.status === to ? [] : [TicketStatusChanged.make({ ticketId: state.ticketId, from: state.status, to })]

const assigned = (state: Ticket, assigneeId: PrincipalId): ReadonlyArray<TicketEvent> =>
  state.assigneeId === assigneeId
    ? []
    : [
        TicketAssigned.make({ ticketId: state.ticketId, assigneeId }),
        ...moved(state, state.status === "new" ? "open" : state.status)
      ]

const claim = (state: Ticket, { principal }: DecisionContext): Decision =>
  state.assigneeId === null || state.assigneeId === principal.id
    ? Result.succeed(assigned(state, principal.id))
    : Result.fail(new TicketAlreadyClaimed({ ticketId: state.ticketId, assigneeId: state.assigneeId }))

const changeStatus = (state: Ticket, to: TicketStatus): Decision =>
  to === "new" && state.status !== "new"
    ? Result.fail(new StatusChangeNotAllowed({ ticketId: state.ticketId, from: state.status, to }))
    : Result.succeed(moved(state, to))

const evolve = (state: Ticket | null, event: TicketEvent): Ticket | null => {
  if (event._tag === "TicketOpened") {
    const { number, requester, ticketId } = event
    return { ticketId, number, requester, status: "new", assigneeId: null, fileIds: [] }
  }
  if (state === null) return null
  switch (event._tag) {
    case "TicketReplied":
    case "NoteAdded":
      return state
    case "TicketAssigned":
      return { ...state, assigneeId: event.assigneeId }
    case "TicketStatusChanged":
      return { ...state, status: event.to }
    case "FileAttached":
      return { ...state, fileIds: [...state.fileIds, event.fileId].slice(-fileIdsMax) }
    case "AttachmentWithdrawn":
      return { ...state, withdrawnFileIds: [...(state.withdrawnFileIds ?? []), event.fileId].slice(-fileIdsMax) }
  }
}

export const TicketDecider: Decider<Ticket, TicketCommand, TicketEvent, TicketRefusal> = { decide, evolve }
