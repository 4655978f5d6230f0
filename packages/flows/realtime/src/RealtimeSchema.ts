// The subscriptions, as clients see them. The texts in the schema are the protocol's documentation: how to resume, and how a
// client learns that the feed is stale.
import { FileId, Position, TicketId } from "@holdfast/contracts/Ids"
import { TicketListName } from "@holdfast/contracts/ticket/Views"
import { Option, Schema } from "effect"
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
}

const isTicketId = Schema.is(TicketId)
const isFileId = Schema.is(FileId)
const isTicketListName = Schema.is(TicketListName)
const decodePosition = Schema.decodeUnknownOption(
  Schema.Union([Position, Schema.NumberFromString.pipe(Schema.decodeTo(Position))])
)

const interests: Readonly<Record<string, (args: Readonly<Record<string, unknown>>) => Interest>> = {
  ticketChanged: ({ id }) => (isTicketId(id) ? { _tag: "Ticket", id } : invalid("id must be a UUID in lower case.")),
  ticketListChanged: ({ list }) =>
    isTicketListName(list) ? { _tag: "TicketList", list } : invalid("There is no such list."),
  fileProgress: ({ id }) => (isFileId(id) ? { _tag: "File", id } : invalid("id must be a UUID in lower case."))
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

/** Subscriptions only: queries have their own schema, behind `GraphqlExecutor`. */
export const realtimeSchema: GraphQLSchema = (() => {
  const schema = buildSchema(subscriptionSdl, { assumeValid: true })
  const fields = schema.getSubscriptionType()?.getFields() ?? {}
  for (const [name, field] of Object.entries(fields)) {
    field.subscribe = (_source: unknown, args: Readonly<Record<string, unknown>>, opening: unknown) => {
      const interest = interests[name]?.(args) ?? invalid("There is no such subscription.")
      if (opening instanceof Opening) opening.asked = { interest, after: afterOf(args) }
      return nothing
    }
  }
  return schema
})()
