// The desk's questions as GraphQL. Reading only: writing belongs to the command path, watching to the realtime gateway. Values are
// properties of the nodes made in Nodes.ts; only what needs a further read has a resolver. Printed as
// `contracts/src/wire/schema.graphql`, which a test keeps current. There are no interfaces and unions, which Plan.ts relies on.
import { FileState, TimelineStage } from "@holdfast/contracts/attachment/Stages"
import { NotificationKind } from "@holdfast/contracts/notification/Kinds"
import { Role } from "@holdfast/contracts/Principal"
import { Audience, TicketPriority, TicketStatus } from "@holdfast/contracts/ticket/Status"
import { TicketListName } from "@holdfast/contracts/ticket/Views"
import { Notifications, Queries } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import { buildSchema, type GraphQLSchema, isObjectType, isScalarType } from "graphql"
import * as Resolve from "./Resolvers.ts"

const page = `
  "At most ${Queries.pageMax}."
  first: Int = ${Queries.pageDefault},
  "The cursor of the last edge of the page before."
  after: String`

const version = `
  "Wait a bounded time until this version is visible; the error VERSION_NOT_REACHED if it is not."
  atLeastVersion: Int`

const oneOf = (values: ReadonlyArray<string>) => `{ ${values.join(" ")} }`

const connection = (name: string, node: string, more = "") => `
"One page."
type ${name}Connection {
  edges: [${name}Edge!]!
  "The nodes of the edges."
  nodes: [${node}!]!
  pageInfo: PageInfo!
  ${more}
}

"A node and its place."
type ${name}Edge {
  cursor: String!
  node: ${node}!
}`

const sdl = `
"""
Every answer says in \`extensions.freshness\` where it came from (\`live\`, or \`cached\` while the read database is away), how old it is, and
the position to resume a subscription from; null when nothing was read.
"""
type Query {
  me: Viewer!
  ticket(id: ID!, ${version}): Ticket
  "Newest change first."
  tickets(list: TicketListName! = open, ${page}): TicketConnection
  file(id: ID!, ${version}): File
  "Tickets in which every word of the question begins a word; best first, at most ${Queries.searchResultsMax}."
  search(query: String!, ${page}): SearchConnection
  "Staff only. Hours without events are left out. Not available from the cache."
  ticketVolume(
    fromHour: DateTime!,
    "At most ${Queries.volumeHoursMax}."
    hours: Int = 24
  ): [VolumeHour!]
  """
  What you were told of, newest first: the newest ${Notifications.keptMax} of the last ${Duration.toDays(Notifications.keptFor)} days. Mark them as read by the command ReadNotifications; the
  subscription myNotifications goes on from here. Not available from the cache: while the read database is away, the subscription still tells.
  """
  notifications(${page}, unreadOnly: Boolean! = false): NotificationConnection
}

"An instant, ISO 8601 in UTC."
scalar DateTime

"What somebody is at the desk."
enum Role ${oneOf(Role.literals)}
"The fixed status categories."
enum TicketStatus ${oneOf(TicketStatus.literals)}
"How urgent a ticket is."
enum TicketPriority ${oneOf(TicketPriority.literals)}
"public: the requester may read it. internal: staff only."
enum Audience ${oneOf(Audience.literals)}
"How far a file has come in the pipeline."
enum FileState ${oneOf(FileState.literals)}
"A stage of the pipeline, or a later look at a released file."
enum FileStage ${oneOf(TimelineStage.literals)}
"""
open: neither solved nor closed. unassigned: open, with nobody on it. solved: solved or closed. mine: open and assigned to you. A
customer sees each list cut to their own tickets.
"""
enum TicketListName ${oneOf(TicketListName.literals)}

"You, as your token says."
type Viewer {
  id: ID!
  role: Role!
  name: String
  email: String
}

"Somebody at the desk or a customer. Customers see no addresses but their own."
type Person {
  id: ID!
  name: String
  email: String
}

"A question to the desk and all that came of it."
type Ticket {
  id: ID!
  "For \`expectedVersion\` of a command. Null for customers: notes count in it."
  version: Int
  "Of the last change that is shown here and that you may see: a feed's changes of this \`streamVersion\` or below are in this answer already."
  shownVersion: Int
  number: Int!
  subject: String!
  status: TicketStatus!
  priority: TicketPriority!
  requester: Person!
  assignee: Person
  "Of the messages that you may read."
  messageCount: Int!
  "Null for customers."
  internalMessageCount: Int
  openedAt: DateTime!
  "When something last changed that you may see."
  updatedAt: DateTime!
  attachments: [Attachment!]!
  "Oldest first."
  conversation(${page}): MessageConnection
}

"A public reply or an internal note."
type Message {
  id: ID!
  audience: Audience!
  author: Person!
  body: String!
  sentAt: DateTime!
}

"A file that hangs on a ticket."
type Attachment {
  fileId: ID!
  name: String!
  audience: Audience!
  attachedAt: DateTime!
  "Null while nothing is known of it, or when it is not for you."
  file: File
  "Why the file was withdrawn after its release; null while it was not."
  withdrawn: String
}

"An uploaded file. It can be downloaded once it is released."
type File {
  id: ID!
  version: Int!
  name: String!
  sizeBytes: Float!
  declaredType: String!
  "As found in the content; null until identified."
  mediaType: String
  state: FileState!
  rejection: Rejection
  "What it waits for, or is in; null when it is through."
  underWay: StageUnderWay
  "Oldest first. Rescans that found nothing are for staff, and of many the oldest are left out."
  timeline: [StageRecord!]!
  derivatives: [Derivative!]!
  "Signed for you and short-lived; null until released."
  downloadUrl: String
  receivedAt: DateTime!
  updatedAt: DateTime!
}

"Why a file was rejected, or withdrawn after its release."
type Rejection {
  reason: String!
  detail: String!
}

"A stage that a file waits for, or is in."
type StageUnderWay {
  stage: FileStage!
  "Since the stage before was done, or since it was asked for."
  since: DateTime!
}

"One stage that was run on a file."
type StageRecord {
  stage: FileStage!
  "passed, rejected, parked or retried; of a rescan requested, passed, failed or withdrawn."
  outcome: String!
  "The file's state from then on."
  state: FileState!
  detail: String
  "Staff only."
  tool: Tool
  durationMs: Int
  at: DateTime!
}

"What did a stage."
type Tool {
  name: String!
  version: String!
  signatureVersion: String
}

"Made from the original, such as a thumbnail."
type Derivative {
  kind: String!
  mediaType: String!
  sizeBytes: Float!
  "Null until the file is released."
  downloadUrl: String
}

"A ticket that was found, and where."
type SearchHit {
  ticket: Ticket!
  highlights: [HighlightSegment!]!
}

"A piece of text, matched or not. Plain text: escape it."
type HighlightSegment {
  text: String!
  matched: Boolean!
}

"What happened in one hour."
type VolumeHour {
  hour: DateTime!
  opened: Int!
  solved: Int!
  replies: Int!
}

"Why you are told."
enum NotificationKind ${oneOf(NotificationKind.literals)}

"Something that names you, is yours or answers you."
type Notification {
  "The event that it is about."
  eventId: ID!
  "What \`upTo\` of ReadNotifications takes."
  position: Float!
  kind: NotificationKind!
  "Who caused it."
  actor: Person!
  occurredAt: DateTime!
  "Null: not yet."
  readAt: DateTime
  "assigned, mentioned and replied."
  ticketId: ID
  "fileRejected."
  fileId: ID
  "The ticket that it is about, as you may read it."
  ticket: Ticket
}

"Whether and where a page goes on."
type PageInfo {
  hasNextPage: Boolean!
  hasPreviousPage: Boolean!
  startCursor: String
  endCursor: String
}
${connection("Ticket", "Ticket", '"Of the whole list."\n  totalCount: Int')}
${connection("Message", "Message")}
${connection("Search", "SearchHit")}
${connection("Notification", "Notification", '"Of all, on whichever page."\n  unreadCount: Int!')}
`

const resolvers = {
  Query: {
    me: Resolve.me,
    ticket: Resolve.ticket,
    tickets: Resolve.tickets,
    file: Resolve.file,
    search: Resolve.search,
    ticketVolume: Resolve.ticketVolume,
    notifications: Resolve.notifications
  },
  Ticket: { conversation: Resolve.conversation },
  TicketConnection: { totalCount: Resolve.totalCount },
  Attachment: { file: Resolve.attachedFile },
  Notification: { ticket: Resolve.notifiedTicket }
}

export const schema: GraphQLSchema = (() => {
  const built = buildSchema(sdl)
  for (const [typeName, byField] of Object.entries(resolvers)) {
    const type = built.getType(typeName)
    const fields = isObjectType(type) ? type.getFields() : {}
    for (const [name, resolve] of Object.entries(byField)) {
      const field = fields[name]
      if (field === undefined) throw new Error(`${typeName} has no field ${name}`)
      field.resolve = resolve
    }
  }
  const instant = built.getType("DateTime")
  if (isScalarType(instant)) instant.coerceInputValue = Resolve.instant
  return built
})()
