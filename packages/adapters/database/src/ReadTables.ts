// The port to the read database. `ReadTables` answers the queries: every answer is one statement and says how far the views had come at
// that moment. `ReadProjection` writes the views: what it is given lands in one transaction, and an older version never replaces a
// newer one, so that a redelivery or a second writer changes nothing. Views cross this port in their encoded form, which is what is
// stored and what is served.
import type { FileView } from "@holdfast/contracts/attachment/Views"
import type { EventId, FileId, MessageId, PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import type { NotificationKind } from "@holdfast/contracts/notification/Kinds"
import type { PersonRef, Role } from "@holdfast/contracts/Principal"
import type { Audience } from "@holdfast/contracts/ticket/Status"
import type { MessageView, TicketListName, TicketView } from "@holdfast/contracts/ticket/Views"
import type { Advance, Progress, Reached } from "@holdfast/resilience/Progress"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect } from "effect"

export type TicketJson = typeof TicketView.Encoded
export type MessageJson = typeof MessageView.Encoded
export type FileJson = typeof FileView.Encoded
export type PersonJson = typeof PersonRef.Encoded

/** A ticket with the name of the one who holds it. */
export interface TicketRecord {
  readonly ticket: TicketJson
  readonly assignee: PersonJson | null
}

/** An answer and where the views stood. */
export interface Read<A> extends Reached {
  readonly value: A
}

/** Whose eyes: a customer's lists are cut to their own tickets, and in order of what they can see. */
export interface Reader {
  readonly id: PrincipalId
  readonly isStaff: boolean
}

export interface TicketCursor {
  readonly updatedMs: number
  readonly id: string
}

export interface TicketPageRequest {
  readonly list: TicketListName
  readonly reader: Reader
  readonly first: number
  readonly after: TicketCursor | null
  /** Counting a long list costs more than reading a page of it. */
  readonly withCount: boolean
}

export interface TicketPage {
  readonly tickets: ReadonlyArray<TicketRecord>
  readonly hasNextPage: boolean
  readonly totalCount: number | null
}

export interface ConversationRequest {
  readonly ticketId: TicketId
  /** Messages after this one; from the beginning if the ticket has no such message. */
  readonly after: MessageId | null
  readonly first: number
  readonly internal: boolean
}

export interface Conversation {
  /** Oldest first. */
  readonly messages: ReadonlyArray<MessageJson>
  readonly hasNextPage: boolean
  /** The cache holds the newest part only: there are older ones before the first. */
  readonly truncated?: boolean
}

export interface SearchRequest {
  /** As `wordsOf` gives them; every one must be the beginning of a word of a message or its ticket's subject. */
  readonly words: ReadonlyArray<string>
  readonly reader: Reader
  readonly first: number
  readonly offset: number
}

export interface SearchHit extends TicketRecord {
  /** The message that matched best. */
  readonly body: string
  readonly rank: number
}

export interface VolumeHour {
  /** ISO 8601, UTC. */
  readonly hour: string
  readonly opened: number
  readonly solved: number
  readonly replies: number
}

export interface NotificationRecord {
  readonly eventId: string
  readonly position: number
  readonly kind: NotificationKind
  readonly actor: PersonJson
  readonly ticketId: string | null
  readonly fileId: string | null
  readonly occurredAtMs: number
  /** Null: not yet. */
  readonly readAtMs: number | null
}

export interface NotificationPageRequest {
  readonly reader: Reader
  readonly first: number
  /** Those before this position; null: from the newest. */
  readonly before: number | null
  readonly unreadOnly: boolean
}

export interface NotificationPage {
  /** Newest first. */
  readonly notifications: ReadonlyArray<NotificationRecord>
  readonly hasNextPage: boolean
  /** Of all that the reader has and may read. */
  readonly unreadCount: number
}

export class ReadTables extends Context.Service<
  ReadTables,
  {
    tickets(request: TicketPageRequest): Effect.Effect<Read<TicketPage>, Unavailable>
    /** Those that exist, in no order. */
    ticketsByIds(ids: ReadonlyArray<TicketId>): Effect.Effect<Read<ReadonlyArray<TicketRecord>>, Unavailable>
    /** In the order of the requests. */
    conversations(
      requests: ReadonlyArray<ConversationRequest>
    ): Effect.Effect<Read<ReadonlyArray<Conversation>>, Unavailable>
    /** Those that exist, in no order. */
    files(ids: ReadonlyArray<FileId>): Effect.Effect<Read<ReadonlyArray<FileJson>>, Unavailable>
    /** The requester's tickets on which the file hangs in public, in no order. */
    ticketsShowingFile(
      fileId: FileId,
      requesterId: PrincipalId
    ): Effect.Effect<Read<ReadonlyArray<TicketRecord>>, Unavailable>
    /** Best first. */
    search(request: SearchRequest): Effect.Effect<Read<ReadonlyArray<SearchHit>>, Unavailable>
    /** Hours in which something happened, ascending. */
    volume(fromMs: number, hours: number): Effect.Effect<Read<ReadonlyArray<VolumeHour>>, Unavailable>
    /** The reader's own, and of those what they may read. */
    notifications(request: NotificationPageRequest): Effect.Effect<Read<NotificationPage>, Unavailable>
  }
>()("@holdfast/database/ReadTables") {}

export interface MessageRow {
  readonly message: MessageJson
  readonly requesterId: PrincipalId
  /** What search finds it by: its own words and those of the subject. */
  readonly words: ReadonlyArray<string>
}

export interface PersonSeen {
  readonly person: PersonRef
  readonly role: Role | null
  readonly position: number
}

export interface NotificationRow {
  readonly recipientId: PrincipalId
  readonly kind: NotificationKind
  /** Whether the recipient may read it is asked when they do: an event does not say what they are. */
  readonly visibility: { readonly audience: Audience; readonly requesterId: PrincipalId }
  readonly eventId: EventId
  readonly position: number
  readonly actor: PersonRef
  readonly ticketId: string | null
  readonly fileId: string | null
  readonly occurredAtMs: number
}

/** Somebody has read what they were told. */
export interface NotificationsSeen {
  readonly principalId: PrincipalId
  /** Null: only these events. */
  readonly upTo: number | null
  readonly eventIds: ReadonlyArray<EventId>
  readonly position: number
  readonly atMs: number
}

export interface ReadChanges {
  readonly tickets: ReadonlyArray<{ readonly ticket: TicketJson; readonly subjectWords: ReadonlyArray<string> }>
  readonly messages: ReadonlyArray<MessageRow>
  readonly files: ReadonlyArray<FileJson>
  readonly people: ReadonlyArray<PersonSeen>
  readonly notifications: ReadonlyArray<NotificationRow>
  /** In the order of the log. They may come before what they are about. */
  readonly notificationsSeen: ReadonlyArray<NotificationsSeen>
}

export class ReadProjection extends Context.Service<
  ReadProjection,
  {
    load(ids: {
      readonly tickets: ReadonlyArray<TicketId>
      readonly files: ReadonlyArray<FileId>
    }): Effect.Effect<
      { readonly tickets: ReadonlyArray<TicketJson>; readonly files: ReadonlyArray<FileJson> },
      Unavailable
    >
    /** The changes and how far they bring the views, in one transaction. */
    save(changes: ReadChanges, change: Advance): Effect.Effect<void, Unavailable>
    readonly progress: Effect.Effect<Progress, Unavailable>
    /** Removes notifications of events before `beforeMs`; how many it removed, at most `countMax`. */
    sweepNotifications(beforeMs: number, countMax: number): Effect.Effect<number, Unavailable>
  }
>()("@holdfast/database/ReadProjection") {}

export const noChanges: ReadChanges = {
  tickets: [],
  messages: [],
  files: [],
  people: [],
  notifications: [],
  notificationsSeen: []
}
