// The queries: one GraphQL request that is repeated while the desk cannot answer, decoded by a schema, with its freshness. Reading changes
// nothing, so it is repeated after everything that passes; an error of the caller is told at once.
import { FileState, TimelineStage } from "@holdfast/contracts/attachment/Stages"
import { EventId, FileId, Position, TicketId } from "@holdfast/contracts/Ids"
import { NotificationKind } from "@holdfast/contracts/notification/Kinds"
import { Role } from "@holdfast/contracts/Principal"
import { Audience, TicketPriority, TicketStatus } from "@holdfast/contracts/ticket/Status"
import type { TicketListName } from "@holdfast/contracts/ticket/Views"
import { Result, Schema } from "effect"
import { waitBefore } from "./Backoff.ts"
import type { Desk, NoReply, Reply } from "./Desk.ts"
import { Requests } from "./Limits.ts"

/** `live` from the read database, or `cached` while it is away; `position` is where a feed goes on from. */
export const Freshness = Schema.Struct({
  source: Schema.Literals(["live", "cached"]),
  asOf: Schema.DateFromString,
  position: Position
})
export type Freshness = typeof Freshness.Type

export type QueryProblemCode =
  | "BAD_USER_INPUT"
  | "FORBIDDEN"
  | "UNAUTHENTICATED"
  | "QUERY_TOO_COSTLY"
  /** Asked for with `atLeastVersion`, and not visible in time. */
  | "VERSION_NOT_REACHED"
  | "READ_UNAVAILABLE"
  /** The desk could not be reached, or what answered was not the desk. */
  | "UNREACHABLE"
  /** The answer is not what the schema says. */
  | "NOT_UNDERSTOOD"
  /** The desk's own mistake, or a code that this version of the client does not know. */
  | "INTERNAL"

export type QueryOutcome<A> =
  | { readonly status: "answered"; readonly data: A; readonly freshness: Freshness | null }
  | { readonly status: "failed"; readonly code: QueryProblemCode; readonly message: string }

export interface QueryOptions {
  /** For all repetitions together. */
  readonly deadlineMs?: number
  readonly signal?: AbortSignal
}

export interface VersionOptions extends QueryOptions {
  /** Waits until this version is visible: reads what you wrote. */
  readonly atLeastVersion?: number
}

export interface PageOptions extends QueryOptions {
  /** At most 100. */
  readonly first?: number
  /** `endCursor` of the page before. */
  readonly after?: string
}

type Variables = Readonly<Record<string, unknown>>

export type Ask = <S extends Schema.Decoder<unknown>>(
  document: string,
  variables: Variables,
  schema: S,
  options?: QueryOptions
) => Promise<QueryOutcome<S["Type"]>>

/** Any document of the desk's schema. */
export const makeQuery =
  (desk: Desk): Ask =>
  async (document, variables, schema, options = {}) => {
    const decode = Schema.decodeUnknownResult(schema)
    const answer = await repeat(desk, document, variables, options)
    if (answer.status === "failed") return answer
    const data = decode(answer.data)
    if (Result.isSuccess(data)) return { ...answer, data: data.success }
    return { status: "failed", code: "NOT_UNDERSTOOD", message: data.failure.message }
  }

type Failed = Extract<QueryOutcome<unknown>, { readonly status: "failed" }>
type Verdict =
  | QueryOutcome<unknown>
  | { readonly status: "again"; readonly failed: Failed; readonly retryAfterMs: number }

const repeat = async (
  desk: Desk,
  query: string,
  variables: Variables,
  { deadlineMs = Requests.queryDeadlineMs, signal }: QueryOptions
): Promise<QueryOutcome<unknown>> => {
  const untilMs = desk.timing.nowMs() + deadlineMs
  let tokenRefused = false
  desk.budget.earn()
  for (let attempt = 0; ; attempt++) {
    const leftMs = untilMs - desk.timing.nowMs()
    const reply = await desk.ask({
      service: "queries",
      path: "/graphql",
      headers: { accept: "application/graphql-response+json" },
      body: { query, variables },
      tokenRefused,
      deadlineMs: Math.min(leftMs, Requests.attemptDeadlineMs),
      signal
    })
    const verdict = verdictOf(reply)
    if (verdict.status !== "again") return verdict
    const isTokenRefused = verdict.failed.code === "UNAUTHENTICATED"
    if (isTokenRefused && tokenRefused) return verdict.failed
    tokenRefused = isTokenRefused
    const waitMs = waitBefore(desk, attempt, verdict.retryAfterMs, untilMs)
    if (waitMs !== null) await desk.timing.sleep(waitMs, signal)
    if (waitMs === null || signal?.aborted === true) return verdict.failed
  }
}

const GraphqlBody = Schema.Struct({
  data: Schema.optionalKey(Schema.Unknown),
  errors: Schema.optionalKey(
    Schema.NonEmptyArray(
      Schema.Struct({
        message: Schema.String,
        extensions: Schema.optionalKey(
          Schema.Struct({ code: Schema.optionalKey(Schema.String), retryAfterMs: Schema.optionalKey(Schema.Natural) })
        )
      })
    )
  ),
  extensions: Schema.optionalKey(Schema.Struct({ freshness: Schema.optionalKey(Schema.NullOr(Freshness)) }))
})
const decodeBody = Schema.decodeUnknownResult(GraphqlBody)

const failed = (code: QueryProblemCode, message: string): Failed => ({ status: "failed", code, message })
const again = (code: QueryProblemCode, message: string, retryAfterMs = 0): Verdict => ({
  status: "again",
  failed: failed(code, message),
  retryAfterMs
})

const verdictOf = (reply: Reply | NoReply): Verdict => {
  if (reply.kind === "none") return again("UNREACHABLE", reply.detail)
  const body = decodeBody(reply.body)
  if (Result.isFailure(body) || (body.success.errors === undefined && body.success.data === undefined)) {
    return again("UNREACHABLE", `an answer that is not the desk's, with status ${reply.status}`, reply.retryAfterMs)
  }
  const { data, errors, extensions } = body.success
  if (errors === undefined) return { status: "answered", data, freshness: extensions?.freshness ?? null }
  const [{ extensions: told, message }] = errors
  // A document that the schema does not know has no code of its own.
  const code = codes.find((known) => known === told?.code) ?? (reply.status === 400 ? "BAD_USER_INPUT" : "INTERNAL")
  if (passing.has(code)) return again(code, message, told?.retryAfterMs ?? reply.retryAfterMs)
  return failed(code, message)
}

const codes = [
  "BAD_USER_INPUT",
  "FORBIDDEN",
  "UNAUTHENTICATED",
  "QUERY_TOO_COSTLY",
  "VERSION_NOT_REACHED",
  "READ_UNAVAILABLE"
] as const
const passing: ReadonlySet<QueryProblemCode> = new Set(["UNAUTHENTICATED", "VERSION_NOT_REACHED", "READ_UNAVAILABLE"])

const Person = Schema.Struct({
  id: Schema.String,
  name: Schema.NullOr(Schema.String),
  email: Schema.NullOr(Schema.String)
})

const summaryFields = {
  id: TicketId,
  /** For `expectedVersion`. Null for customers. */
  version: Schema.NullOr(Schema.Int),
  /** Of the last change that is shown and that you may see; null where the desk does not know. */
  shownVersion: Schema.NullOr(Schema.Int),
  number: Schema.Int,
  subject: Schema.String,
  status: TicketStatus,
  priority: TicketPriority,
  requester: Person,
  assignee: Schema.NullOr(Person),
  messageCount: Schema.Int,
  internalMessageCount: Schema.NullOr(Schema.Int),
  openedAt: Schema.DateFromString,
  updatedAt: Schema.DateFromString
}

export const TicketSummary = Schema.Struct(summaryFields)
export type TicketSummary = typeof TicketSummary.Type

const PageInfo = Schema.Struct({ hasNextPage: Schema.Boolean, endCursor: Schema.NullOr(Schema.String) })

export const Ticket = Schema.Struct({
  ...summaryFields,
  attachments: Schema.Array(
    Schema.Struct({
      fileId: FileId,
      name: Schema.String,
      audience: Audience,
      attachedAt: Schema.DateFromString,
      /** Null while nothing is known of it, or when it is not for you. */
      file: Schema.NullOr(Schema.Struct({ state: FileState, downloadUrl: Schema.NullOr(Schema.String) }))
    })
  ),
  /** Oldest first. */
  conversation: Schema.Struct({
    nodes: Schema.Array(
      Schema.Struct({
        id: Schema.String,
        audience: Audience,
        author: Person,
        body: Schema.String,
        sentAt: Schema.DateFromString
      })
    ),
    pageInfo: PageInfo
  })
})
export type Ticket = typeof Ticket.Type

export const DeskFile = Schema.Struct({
  id: FileId,
  version: Schema.Int,
  name: Schema.String,
  sizeBytes: Schema.Finite,
  declaredType: Schema.String,
  mediaType: Schema.NullOr(Schema.String),
  state: FileState,
  rejection: Schema.NullOr(Schema.Struct({ reason: Schema.String, detail: Schema.String })),
  timeline: Schema.Array(
    Schema.Struct({
      stage: TimelineStage,
      outcome: Schema.String,
      detail: Schema.NullOr(Schema.String),
      durationMs: Schema.NullOr(Schema.Int),
      at: Schema.DateFromString
    })
  ),
  derivatives: Schema.Array(
    Schema.Struct({
      kind: Schema.String,
      mediaType: Schema.String,
      sizeBytes: Schema.Finite,
      downloadUrl: Schema.NullOr(Schema.String)
    })
  ),
  /** Signed for you and short-lived; null until released. */
  downloadUrl: Schema.NullOr(Schema.String),
  receivedAt: Schema.DateFromString,
  updatedAt: Schema.DateFromString
})
export type DeskFile = typeof DeskFile.Type

const pageOf = <S extends Schema.Top>(node: S) =>
  Schema.NullOr(
    Schema.Struct({
      nodes: Schema.Array(node),
      pageInfo: PageInfo,
      totalCount: Schema.optionalKey(Schema.NullOr(Schema.Int))
    })
  )

const person = "{ id name email }"
const summary = `id version shownVersion number subject status priority requester ${person} assignee ${person}
  messageCount internalMessageCount openedAt updatedAt`

export const documents = {
  me: "{ me { id role name email } }",
  ticket: `query($id: ID!, $atLeastVersion: Int, $first: Int, $after: String) {
    ticket(id: $id, atLeastVersion: $atLeastVersion) {
      ${summary}
      attachments { fileId name audience attachedAt file { state downloadUrl } }
      conversation(first: $first, after: $after) {
        nodes { id audience author ${person} body sentAt } pageInfo { hasNextPage endCursor }
      }
    }
  }`,
  tickets: `query($list: TicketListName!, $first: Int, $after: String) {
    tickets(list: $list, first: $first, after: $after) {
      nodes { ${summary} } pageInfo { hasNextPage endCursor } totalCount
    }
  }`,
  file: `query($id: ID!, $atLeastVersion: Int) {
    file(id: $id, atLeastVersion: $atLeastVersion) {
      id version name sizeBytes declaredType mediaType state rejection { reason detail }
      timeline { stage outcome detail durationMs at } derivatives { kind mediaType sizeBytes downloadUrl }
      downloadUrl receivedAt updatedAt
    }
  }`,
  search: `query($query: String!, $first: Int, $after: String) {
    search(query: $query, first: $first, after: $after) {
      nodes { ticket { ${summary} } highlights { text matched } } pageInfo { hasNextPage endCursor }
    }
  }`,
  volume: `query($fromHour: DateTime!, $hours: Int) {
    ticketVolume(fromHour: $fromHour, hours: $hours) { hour opened solved replies }
  }`,
  notifications: `query($first: Int, $after: String, $unreadOnly: Boolean!) {
    notifications(first: $first, after: $after, unreadOnly: $unreadOnly) {
      nodes { eventId position kind actor ${person} occurredAt readAt ticketId fileId ticket { number subject } }
      pageInfo { hasNextPage endCursor } unreadCount
    }
  }`
} as const

const Me = Schema.Struct({
  id: Schema.String,
  role: Role,
  name: Schema.NullOr(Schema.String),
  email: Schema.NullOr(Schema.String)
})
const SearchHit = Schema.Struct({
  ticket: TicketSummary,
  /** Plain text: escape it. */
  highlights: Schema.Array(Schema.Struct({ text: Schema.String, matched: Schema.Boolean }))
})
const VolumeHour = Schema.Struct({
  hour: Schema.DateFromString,
  opened: Schema.Int,
  solved: Schema.Int,
  replies: Schema.Int
})

const KeptNotification = Schema.Struct({
  eventId: EventId,
  position: Position,
  kind: NotificationKind,
  actor: Person,
  occurredAt: Schema.DateFromString,
  /** Null: not yet. */
  readAt: Schema.NullOr(Schema.DateFromString),
  ticketId: Schema.NullOr(TicketId),
  fileId: Schema.NullOr(FileId),
  ticket: Schema.NullOr(Schema.Struct({ number: Schema.Int, subject: Schema.String }))
})
const NotificationPage = Schema.Struct({
  nodes: Schema.Array(KeptNotification),
  pageInfo: PageInfo,
  /** Of all, on whichever page. */
  unreadCount: Schema.Int
})

const answers = {
  me: Schema.Struct({ me: Me }),
  ticket: Schema.Struct({ ticket: Schema.NullOr(Ticket) }),
  tickets: Schema.Struct({ tickets: pageOf(TicketSummary) }),
  file: Schema.Struct({ file: Schema.NullOr(DeskFile) }),
  search: Schema.Struct({ search: pageOf(SearchHit) }),
  volume: Schema.Struct({ ticketVolume: Schema.NullOr(Schema.Array(VolumeHour)) }),
  notifications: Schema.Struct({ notifications: Schema.NullOr(NotificationPage) })
}

/** The default of the query API counts for what is left out. */
const pageDefault = 20

export const makeQueries = (ask: Ask) => ({
  /** You, as your token says. */
  me: async (options?: QueryOptions) => map(await ask(documents.me, {}, answers.me, options), ({ me }) => me),
  /** With a page of its conversation. Null: there is none, or it is not for you. */
  ticket: async (
    id: string,
    { after, atLeastVersion, first = pageDefault, ...options }: VersionOptions & PageOptions = {}
  ) =>
    map(
      await ask(documents.ticket, { id, atLeastVersion, first, after }, answers.ticket, options),
      ({ ticket }) => ticket
    ),
  /** Newest change first. */
  tickets: async (list: TicketListName, { after, first = pageDefault, ...options }: PageOptions = {}) =>
    map(await ask(documents.tickets, { list, first, after }, answers.tickets, options), ({ tickets }) => tickets),
  file: async (id: string, { atLeastVersion, ...options }: VersionOptions = {}) =>
    map(await ask(documents.file, { id, atLeastVersion }, answers.file, options), ({ file }) => file),
  /** Best first. */
  search: async (query: string, { after, first = pageDefault, ...options }: PageOptions = {}) =>
    map(await ask(documents.search, { query, first, after }, answers.search, options), ({ search }) => search),
  /** Staff only. */
  volume: async (fromHour: Date, hours: number, options?: QueryOptions) =>
    map(
      await ask(documents.volume, { fromHour: fromHour.toISOString(), hours }, answers.volume, options),
      (data) => data.ticketVolume
    ),
  /** Newest first. Not told while the read database is away; the feed is. */
  notifications: async ({
    after,
    first = pageDefault,
    unreadOnly = false,
    ...options
  }: PageOptions & { readonly unreadOnly?: boolean } = {}) =>
    map(
      await ask(documents.notifications, { first, after, unreadOnly }, answers.notifications, options),
      (data) => data.notifications
    )
})

const map = <A, B>(outcome: QueryOutcome<A>, change: (data: A) => B): QueryOutcome<B> =>
  outcome.status === "answered" ? { ...outcome, data: change(outcome.data) } : outcome
