// The commands on a ticket. A new ticket takes the id of the command that opened it, so a client knows it before the answer.
import { Schema } from "effect"
import { RejectionReason } from "../attachment/Stages.ts"
import { defineCommand } from "../Command.ts"
import { FileId, PrincipalId, TicketId } from "../Ids.ts"
import { PersonRef } from "../Principal.ts"
import { Body, FileName, Line, Subject } from "../Text.ts"
import { Mentions } from "./Mentions.ts"
import {
  StatusChangeNotAllowed,
  TicketAlreadyClaimed,
  TicketAlreadyExists,
  TicketNotFound,
  TicketNotOpen
} from "./Refusals.ts"
import { Audience, TicketPriority, TicketStatus } from "./Status.ts"

const staff = ["admin", "supervisor", "agent", "service"] as const
const everyone = [...staff, "customer"] as const

export const OpenTicket = defineCommand({
  name: "OpenTicket",
  summary: "Open a ticket with its first message. Staff may name the requester; a customer is always the requester.",
  streamType: "ticket",
  streamIdField: "commandId",
  fields: {
    subject: Subject,
    body: Body,
    priority: Schema.optionalKey(TicketPriority),
    requester: Schema.optionalKey(PersonRef)
  },
  refusals: [TicketAlreadyExists],
  roles: everyone,
  path: "/v1/tickets"
})

export const ReplyToTicket = defineCommand({
  name: "ReplyToTicket",
  summary:
    "Add a public reply, which the requester can read. A customer's reply reopens a pending or solved ticket, and mentions nobody.",
  streamType: "ticket",
  streamIdField: "ticketId",
  fields: { ticketId: TicketId, body: Body, mentions: Schema.optionalKey(Mentions) },
  refusals: [TicketNotFound, TicketNotOpen],
  roles: everyone,
  path: "/v1/tickets/:ticketId/replies"
})

export const AddNote = defineCommand({
  name: "AddNote",
  summary: "Add an internal note, which only staff can read.",
  streamType: "ticket",
  streamIdField: "ticketId",
  fields: { ticketId: TicketId, body: Body, mentions: Schema.optionalKey(Mentions) },
  refusals: [TicketNotFound, TicketNotOpen],
  roles: staff,
  path: "/v1/tickets/:ticketId/notes"
})

export const AssignTicket = defineCommand({
  name: "AssignTicket",
  summary: "Give the ticket to an agent. Assigning it to whom it belongs changes nothing.",
  streamType: "ticket",
  streamIdField: "ticketId",
  fields: { ticketId: TicketId, assigneeId: PrincipalId },
  refusals: [TicketNotFound, TicketNotOpen],
  roles: staff,
  path: "/v1/tickets/:ticketId/assignment"
})

export const ClaimTicket = defineCommand({
  name: "ClaimTicket",
  summary: "Take an unassigned ticket. Of two agents who claim at once, one is refused.",
  streamType: "ticket",
  streamIdField: "ticketId",
  fields: { ticketId: TicketId },
  refusals: [TicketNotFound, TicketNotOpen, TicketAlreadyClaimed],
  roles: ["admin", "supervisor", "agent"],
  path: "/v1/tickets/:ticketId/claim"
})

export const ChangeTicketStatus = defineCommand({
  name: "ChangeTicketStatus",
  summary: "Move the ticket to another status. A closed ticket stays closed.",
  streamType: "ticket",
  streamIdField: "ticketId",
  fields: { ticketId: TicketId, status: TicketStatus },
  refusals: [TicketNotFound, TicketNotOpen, StatusChangeNotAllowed],
  roles: staff,
  path: "/v1/tickets/:ticketId/status"
})

export const AttachFile = defineCommand({
  name: "AttachFile",
  summary: "Attach an uploaded file. It can be downloaded once it is released.",
  streamType: "ticket",
  streamIdField: "ticketId",
  fields: {
    ticketId: TicketId,
    fileId: FileId,
    name: FileName,
    audience: Schema.optionalKey(Audience)
  },
  refusals: [TicketNotFound, TicketNotOpen],
  roles: everyone,
  path: "/v1/tickets/:ticketId/files"
})

export const WithdrawAttachment = defineCommand({
  name: "WithdrawAttachment",
  summary:
    "Tell a ticket, also a closed one, that a file on it was withdrawn; an internal note says why. Repeating it changes nothing.",
  streamType: "ticket",
  streamIdField: "ticketId",
  fields: {
    ticketId: TicketId,
    fileId: FileId,
    name: FileName,
    audience: Audience,
    reason: RejectionReason,
    detail: Line(500)
  },
  refusals: [TicketNotFound],
  roles: ["service"],
  path: "/v1/tickets/:ticketId/files/:fileId/withdrawal"
})

export const ticketCommands = [
  OpenTicket,
  ReplyToTicket,
  AddNote,
  AssignTicket,
  ClaimTicket,
  ChangeTicketStatus,
  AttachFile,
  WithdrawAttachment
] as const

export type TicketCommand = (typeof ticketCommands)[number]["command"]["Type"]
export type TicketRefusal = (typeof ticketCommands)[number]["refusals"][number]["Type"]
