// The subscriptions, as clients see them. The texts in the schema are the protocol's documentation: how to resume, and how a
// client learns that the feed is stale.
import { FileId, Position, TicketId } from "@holdfast/contracts/Ids"
import { Audience } from "@holdfast/contracts/ticket/Status"
import { TicketListName } from "@holdfast/contracts/ticket/Views"
import { Presence } from "@holdfast/resilience/Limits"
import { Duration, Option, Schema } from "effect"
import { buildSchema, GraphQLError, type GraphQLSchema } from "graphql"
import type { Interest } from "./Interest.ts"

export const subscriptionSdl = /* GraphQL */ `
"A place in the desk's log of events, from 1 without gaps; 0 stands before the first. Accepted as a number or as its digits."
scalar Position
"An instant, ISO 8601 in UTC."
scalar DateTime

"""
Changes as they happen, each exactly once and in order.

Every \`next\` carries \`extensions.feed.position\`: keep the newest, and pass it as \`after\` when you come back, to this or any other
gateway. Without \`after\` a subscription starts now. When the events after a position are no longer held, the subscription ends
with an error whose \`extensions\` are \`{ code: "RESYNC_REQUIRED", oldestPosition, position }\`: read a snapshot by query and resume
from its \`freshness.position\`.

The gateway says how the feed is in \`connection_ack\` and in every \`ping\`: \`payload.feed\` is \`{ state, position }\`. While \`state\` is
\`stale\` events may be late, none is lost, and the socket stays. \`position\` is there when you have everything up to it, so a quiet
subscription's cursor moves on too.

Where web sockets do not live, the same subscriptions go by server-sent events: POST or GET \`/graphql/stream\` with
\`Accept: text/event-stream\` and \`Authorization: Bearer\`, one operation a stream. The \`id\` of each event is its position, so a browser's
\`Last-Event-ID\` resumes as \`after\` does, and goes before it. How the feed is stands in comments, whose \`id\` moves on too; with
\`extensions: { feed: true }\` in the request it comes as a \`next\` of \`extensions: { feed }\` alone. \`errors\`, then \`complete\`: it cannot go
on as it is. An end without \`complete\`: resume, after \`retry\` milliseconds (\`extensions.ended\`, if you asked to be told, says why).

What you may not read you never receive: asking for somebody else's ticket or file is silent, as for one that does not exist.
"""
type Subscription {
  "One ticket's changes."
  ticketChanged(id: ID!, after: Position): TicketChange!
  "The changes of the tickets in one of your lists; a ticket that leaves the list says so once."
  ticketListChanged(list: TicketListName!, after: Position): TicketChange!
  """
  One file's way through the pipeline, and what became of it after its release. A customer is sent the way of their own files, and hears of
  a rescan only if it withdraws the file; that a file on their ticket was withdrawn is told by the ticket.
  """
  fileProgress(id: ID!, after: Position): FileChange!
  "What you are told of: it names you, it is assigned to you, it answers you; and what you have read, on this device or another."
  myNotifications(after: Position): Notification!
  """
  Who is on a ticket just now, and whether two of the desk write at the same time. While you are subscribed you are there, for others to
  see. Each change gives the whole again, at most ${1000 / Duration.toMillis(Presence.flushInterval)} times a second; there is nothing to resume, and no \`extensions.feed\`. Who is no longer heard of is gone within
  ${Duration.toSeconds(Presence.viewingLasts)} s. While the broker is away you see those who are at the same gateway.

  A customer may ask for their own ticket, and is told nothing but \`isStaffWriting\`; for any other ticket the error's code is FORBIDDEN.
  READ_UNAVAILABLE: whose ticket it is cannot be found out just now; come again.
  """
  presence(ticketId: ID!): Presence!
}

"Carried by the socket alone. Everything that lasts is written by commands."
type Mutation {
  """
  You write on a ticket, or no longer do. Say it again while it goes on: it is forgotten after ${Duration.toSeconds(Presence.writingLasts)} s. Sending a reply or leaving the ticket
  ends it sooner if you say so. True: it was told to the others; false: you say it too often, and it was not. Errors as for \`presence\`.
  """
  typing(
    ticketId: ID!,
    isTyping: Boolean!,
    "What you write: a public reply or an internal note. What a customer writes is public."
    audience: Audience! = public
  ): Boolean!
}

enum Audience {
  public
  internal
}

enum NotificationKind {
  "A ticket was given to you by somebody else."
  assigned
  "A reply or a note names you."
  mentioned
  "The requester answered on a ticket that is yours, or the desk answered on a ticket that you asked for."
  replied
  "A file that you uploaded was rejected."
  fileRejected
  "You have read some, on this device or another."
  read
}

type Notification {
  position: Position!
  "Which notification it is; what \`eventIds\` names."
  eventId: ID!
  kind: NotificationKind!
  occurredAt: DateTime!
  "Who caused it."
  actor: Actor!
  "assigned, mentioned and replied."
  ticketId: ID
  "fileRejected."
  fileId: ID
  "read: everything up to and with this position."
  upTo: Position
  "read: these."
  eventIds: [ID!]
}

type Presence {
  ticketId: ID!
  "At most ${Presence.peopleShownMax}, who writes first. Empty for a customer."
  people: [PresentPerson!]!
  "At least two of the desk write on the ticket at the same time: warn them. False for a customer."
  collision: Boolean!
  "Somebody of the desk writes; to a customer: a public reply."
  isStaffWriting: Boolean!
}

type PresentPerson {
  id: ID!
  name: String
  "admin, supervisor, agent, customer or service."
  role: String!
  state: PresenceState!
}

enum PresenceState {
  viewing
  writing
}

enum TicketListName {
  all
  open
  unassigned
  solved
  mine
}

"What the event did to what you subscribed to. For one ticket or file, \`entered\` is its first event."
enum ChangeKind {
  entered
  changed
  left
}

type Actor {
  id: ID!
  name: String
}

type TicketChange {
  position: Position!
  eventId: ID!
  "TicketOpened, TicketReplied, NoteAdded, TicketAssigned, TicketStatusChanged, FileAttached or AttachmentWithdrawn."
  type: String!
  occurredAt: DateTime!
  actor: Actor!
  ticketId: ID!
  "The ticket's version after the event: ask a query for \`atLeastVersion\`."
  streamVersion: Int!
  change: ChangeKind!
  "The ticket's status after the event."
  status: String
  "The ticket's status before the event."
  previousStatus: String
  "Who has the ticket after the event."
  assigneeId: ID
  requesterId: ID!
  "TicketOpened."
  number: Int
  "TicketOpened."
  subject: String
  "TicketOpened."
  priority: String
  "public or internal."
  audience: String!
  "TicketOpened, TicketReplied and NoteAdded."
  messageId: ID
  "TicketOpened, TicketReplied and NoteAdded."
  body: String
  "FileAttached and AttachmentWithdrawn."
  fileId: ID
  "FileAttached and AttachmentWithdrawn."
  fileName: String
  "AttachmentWithdrawn: why."
  reason: String
}

type FileChange {
  position: Position!
  eventId: ID!
  """
  FileReceived, FileIdentified, FileScanned, FileConverted, FileReleased, FileRejected, FileParked, FileRetried, FileRescanRequested,
  FileRescanned, FileRescanFailed or FileWithdrawn.
  """
  type: String!
  occurredAt: DateTime!
  actor: Actor!
  fileId: ID!
  streamVersion: Int!
  change: ChangeKind!
  "The file's state after the event: received, identified, scanned, converted, released, rejected, parked or withdrawn."
  state: String!
  "The stage that the event is about: identify, scan, convert, release or rescan."
  stage: String
  "FileReceived."
  name: String
  "FileReceived: what was uploaded. FileReleased: what a download gives."
  sizeBytes: Float
  "FileReceived: as declared. FileIdentified: as found. FileReleased: of what a download gives."
  mediaType: String
  ticketId: ID
  "FileRejected and FileWithdrawn."
  reason: String
  "FileRejected, FileWithdrawn, FileParked, FileRescanFailed; FileConverted: what was not made, and why."
  detail: String
  "How long the stage took."
  durationMs: Int
  "What did the stage. Staff only."
  tool: Tool
  "What looked inside before the scanner did. Staff only."
  inspector: Tool
}

type Tool {
  name: String!
  version: String!
  signatureVersion: String
}
`

/** What a subscription's root field asked for. */
export interface Asked {
  readonly interest: Interest
  readonly after: Position | null
}

/** The context in which a subscription is opened: the root field's resolver writes here what was asked. */
export class Opening {
  asked: Asked | null = null
  /** The ticket, when it was asked who is there. */
  presenceOf: TicketId | null = null
}

/** The context in which a mutation runs. */
export class Typing {
  readonly type: (ticketId: TicketId, writing: Audience | null) => Promise<boolean>

  constructor(type: Typing["type"]) {
    this.type = type
  }
}

const isTicketId = Schema.is(TicketId)
const isFileId = Schema.is(FileId)
const isAudience = Schema.is(Audience)
const isTicketListName = Schema.is(TicketListName)
const decodePosition = Schema.decodeUnknownOption(
  Schema.Union([Position, Schema.NumberFromString.pipe(Schema.decodeTo(Position))])
)

const interests: Readonly<Record<string, (args: Readonly<Record<string, unknown>>) => Interest>> = {
  ticketChanged: ({ id }) => (isTicketId(id) ? { _tag: "Ticket", id } : invalid("id must be a UUID in lower case.")),
  ticketListChanged: ({ list }) =>
    isTicketListName(list) ? { _tag: "TicketList", list } : invalid("There is no such list."),
  fileProgress: ({ id }) => (isFileId(id) ? { _tag: "File", id } : invalid("id must be a UUID in lower case.")),
  myNotifications: () => ({ _tag: "Notifications" })
}

const invalid = (message: string): never => {
  throw new GraphQLError(message, { extensions: { code: "BAD_USER_INPUT" } })
}

const afterOf = ({ after }: Readonly<Record<string, unknown>>): Position | null => {
  if (after === undefined || after === null) return null
  return Option.getOrElse(decodePosition(after), () => invalid("after must be a whole number from 0."))
}

const nothing: AsyncIterable<never> = {
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) })
}

const ticketOf = (ticketId: unknown): TicketId =>
  isTicketId(ticketId) ? ticketId : invalid("ticketId must be a UUID in lower case.")

/** Subscriptions and what only a socket carries: queries have their own schema, behind `GraphqlExecutor`. */
export const realtimeSchema: GraphQLSchema = (() => {
  const schema = buildSchema(subscriptionSdl, { assumeValid: true })
  const fields = schema.getSubscriptionType()?.getFields() ?? {}
  for (const [name, field] of Object.entries(fields)) {
    if (name === "presence") continue
    field.subscribe = (_source: unknown, args: Readonly<Record<string, unknown>>, opening: unknown) => {
      const interest = interests[name]?.(args) ?? invalid("There is no such subscription.")
      if (opening instanceof Opening) opening.asked = { interest, after: afterOf(args) }
      return nothing
    }
  }
  const { presence } = fields
  if (presence !== undefined) {
    presence.subscribe = (_source: unknown, { ticketId }: Readonly<Record<string, unknown>>, opening: unknown) => {
      if (opening instanceof Opening) opening.presenceOf = ticketOf(ticketId)
      return nothing
    }
  }
  const typing = schema.getMutationType()?.getFields().typing
  if (typing !== undefined) {
    typing.resolve = (_source: unknown, args: Readonly<Record<string, unknown>>, context: unknown) => {
      const writing = args.isTyping === true && isAudience(args.audience) ? args.audience : null
      return context instanceof Typing ? context.type(ticketOf(args.ticketId), writing) : false
    }
  }
  return schema
})()
