// Subscriptions as an async iterable that goes on by itself: each change exactly once and in order, over every cut, at any gateway. When the
// desk no longer holds what was missed, a snapshot comes instead and says so. A reader who is slow is waited for: past a bound the
// subscription is let go, and resumed where it was once the reader has caught up.
import { FileId, TicketId } from "@holdfast/contracts/Ids"
import { NotificationKind } from "@holdfast/contracts/notification/Kinds"
import { Audience, TicketStatus } from "@holdfast/contracts/ticket/Status"
import type { TicketListName } from "@holdfast/contracts/ticket/Views"
import { Result, Schema } from "effect"
import { backoffMs } from "./Backoff.ts"
import type { Desk } from "./Desk.ts"
import type { Ended, FeedState } from "./Ended.ts"
import { Feeds as Limits } from "./Limits.ts"
import type { Line } from "./Line.ts"
import type { Freshness, makeQueries, QueryOutcome, QueryProblemCode } from "./Queries.ts"

export type FeedItem<Change, Snapshot> =
  | { readonly type: "change"; readonly position: number; readonly change: Change }
  /** How it stands; changes go on after it. `resync`: what happened before it was missed and cannot be told any more. */
  | {
      readonly type: "snapshot"
      readonly reason: "asked" | "resync"
      readonly position: number
      readonly data: Snapshot
      readonly freshness: Freshness
    }
  /** `stale`: the desk's own feed is interrupted, changes may be late. `away`: there is no connection. Nothing is lost by either. */
  | { readonly type: "state"; readonly state: FeedState | "away"; readonly detail?: string }
  /** The last one, unless you stopped it: it cannot go on. */
  | { readonly type: "ended"; readonly code: string; readonly message: string }

export interface FeedOptions {
  /** What happens from now on; a snapshot first; or what happened after a position that you kept. */
  readonly from?: "now" | "snapshot" | number
  /** Stops it. So does leaving the loop. */
  readonly signal?: AbortSignal
}

export type Feed<Change, Snapshot> = AsyncIterable<FeedItem<Change, Snapshot>>

const Actor = Schema.Struct({ id: Schema.String, name: Schema.NullOr(Schema.String) })
const ChangeKind = Schema.Literals(["entered", "changed", "left"])

export const TicketChange = Schema.Struct({
  eventId: Schema.String,
  /** `TicketOpened`, `TicketReplied`, `NoteAdded`, `TicketAssigned`, `TicketStatusChanged`, `FileAttached`, or newer than this client. */
  type: Schema.String,
  occurredAt: Schema.DateFromString,
  actor: Actor,
  ticketId: TicketId,
  /** For `atLeastVersion`. */
  streamVersion: Schema.Int,
  change: ChangeKind,
  status: Schema.NullOr(TicketStatus),
  previousStatus: Schema.NullOr(TicketStatus),
  assigneeId: Schema.NullOr(Schema.String),
  requesterId: Schema.String,
  number: Schema.NullOr(Schema.Int),
  subject: Schema.NullOr(Schema.String),
  priority: Schema.NullOr(Schema.String),
  audience: Audience,
  messageId: Schema.NullOr(Schema.String),
  body: Schema.NullOr(Schema.String),
  fileId: Schema.NullOr(FileId),
  fileName: Schema.NullOr(Schema.String)
})
export type TicketChange = typeof TicketChange.Type

export const FileChange = Schema.Struct({
  eventId: Schema.String,
  type: Schema.String,
  occurredAt: Schema.DateFromString,
  fileId: FileId,
  streamVersion: Schema.Int,
  change: ChangeKind,
  state: Schema.String,
  stage: Schema.NullOr(Schema.String),
  name: Schema.NullOr(Schema.String),
  sizeBytes: Schema.NullOr(Schema.Finite),
  mediaType: Schema.NullOr(Schema.String),
  ticketId: Schema.NullOr(TicketId),
  reason: Schema.NullOr(Schema.String),
  detail: Schema.NullOr(Schema.String)
})
export type FileChange = typeof FileChange.Type

export const Notification = Schema.Struct({
  eventId: Schema.String,
  /** `read`: you have read some, on this device or another. */
  kind: Schema.Literals([...NotificationKind.literals, "read"]),
  occurredAt: Schema.DateFromString,
  actor: Actor,
  ticketId: Schema.NullOr(TicketId),
  fileId: Schema.NullOr(FileId),
  upTo: Schema.NullOr(Schema.Natural),
  eventIds: Schema.NullOr(Schema.Array(Schema.String))
})
export type Notification = typeof Notification.Type

const ticketFields = `eventId type occurredAt actor { id name } ticketId streamVersion change status previousStatus assigneeId requesterId
  number subject priority audience messageId body fileId fileName`
const fileFields = `eventId type occurredAt fileId streamVersion change state stage name sizeBytes mediaType ticketId reason detail`

export const subscriptions = {
  ticket: `subscription($id: ID!, $after: Position) { ticketChanged(id: $id, after: $after) { ${ticketFields} } }`,
  ticketList: `subscription($list: TicketListName!, $after: Position) { ticketListChanged(list: $list, after: $after) { ${ticketFields} } }`,
  file: `subscription($id: ID!, $after: Position) { fileProgress(id: $id, after: $after) { ${fileFields} } }`,
  notifications: `subscription($after: Position) { myNotifications(after: $after) {
    eventId kind occurredAt actor { id name } ticketId fileId upTo eventIds } }`
} as const

export const makeFeeds = (desk: Desk, line: Line, queries: ReturnType<typeof makeQueries>) => ({
  /** One ticket's changes; its snapshots are the ticket with a page of its conversation. */
  ticket: (id: string, options?: FeedOptions) =>
    feed(desk, line, options, {
      query: subscriptions.ticket,
      variables: { id },
      read: readWith(Schema.Struct({ ticketChanged: TicketChange }), ({ ticketChanged }) => ticketChanged),
      snapshot: (signal) => queries.ticket(id, { signal }),
      shows: (ticket, { streamVersion }: TicketChange) => streamVersion <= (ticket?.shownVersion ?? 0)
    }),
  /** The changes of the tickets in a list; its snapshots are the list's first page. */
  ticketList: (list: TicketListName, options?: FeedOptions) =>
    feed(desk, line, options, {
      query: subscriptions.ticketList,
      variables: { list },
      read: readWith(Schema.Struct({ ticketListChanged: TicketChange }), (data) => data.ticketListChanged),
      snapshot: (signal) => queries.tickets(list, { signal, first: listSnapshot }),
      shows: (page, { streamVersion, ticketId }: TicketChange) =>
        page?.nodes.some(({ id, shownVersion }) => id === ticketId && streamVersion <= (shownVersion ?? 0)) ?? false
    }),
  /** A file's way through the pipeline. */
  file: (id: string, options?: FeedOptions) =>
    feed(desk, line, options, {
      query: subscriptions.file,
      variables: { id },
      read: readWith(Schema.Struct({ fileProgress: FileChange }), ({ fileProgress }) => fileProgress),
      snapshot: (signal) => queries.file(id, { signal }),
      shows: (file, { streamVersion }: FileChange) => streamVersion <= (file?.version ?? 0)
    }),
  /** What you are told of; its snapshots are the newest of it, with how many are unread. */
  notifications: (options?: FeedOptions) =>
    feed(desk, line, options, {
      query: subscriptions.notifications,
      variables: {},
      read: readWith(Schema.Struct({ myNotifications: Notification }), ({ myNotifications }) => myNotifications),
      snapshot: (signal) => queries.notifications({ signal, first: listSnapshot }),
      shows: (page, { eventId }: Notification) => page?.nodes.some((node) => node.eventId === eventId) ?? false
    })
})

/** The most that a page may have. */
const listSnapshot = 100

const readWith = <S extends Schema.Decoder<unknown>, Change>(schema: S, pick: (data: S["Type"]) => Change) => {
  const decode = Schema.decodeUnknownResult(schema)
  return (data: unknown) => Result.map(decode(data), pick)
}

interface Source<Change, Snapshot> {
  readonly query: string
  readonly variables: Readonly<Record<string, unknown>>
  readonly read: (data: unknown) => Result.Result<Change, Schema.SchemaError>
  readonly snapshot: (signal: AbortSignal) => Promise<QueryOutcome<Snapshot>>
  /** Whether a snapshot has a change already: it may show more than what it is sure to have all of. */
  readonly shows: (snapshot: Snapshot, change: Change) => boolean
}

const feed = <Change, Snapshot>(
  desk: Desk,
  line: Line,
  { from = "now", signal }: FeedOptions = {},
  source: Source<Change, Snapshot>
): Feed<Change, Snapshot> => ({
  [Symbol.asyncIterator]: async function* () {
    const running = new RunningFeed(desk, line, source, from)
    const stop = () => running.stop()
    signal?.addEventListener("abort", stop)
    if (signal?.aborted === true) stop()
    try {
      for (;;) {
        const item = await running.take()
        if (item === null) return
        yield item
      }
    } finally {
      signal?.removeEventListener("abort", stop)
      stop()
    }
  }
})

class RunningFeed<Change, Snapshot> {
  readonly #desk: Desk
  readonly #line: Line
  readonly #source: Source<Change, Snapshot>
  readonly #stopped = new AbortController()
  readonly #items: Array<FeedItem<Change, Snapshot>> = []
  #added = Promise.withResolvers<void>()
  #taken = Promise.withResolvers<void>()
  /** Everything up to here has been given out or is not for this feed; null: not known yet. */
  #cursor: number | null
  /** Why a snapshot comes next. */
  #wanted: "asked" | "resync" | null
  #state: FeedState | "away" | null = null
  #wasConnected = false
  #failures = 0
  #tokensRefused = 0

  /** By the last snapshot. */
  #isShown: (change: Change) => boolean = () => false

  constructor(desk: Desk, line: Line, source: Source<Change, Snapshot>, from: "now" | "snapshot" | number) {
    this.#desk = desk
    this.#line = line
    this.#source = source
    this.#cursor = typeof from === "number" ? from : null
    this.#wanted = from === "snapshot" ? "asked" : null
    void this.#run()
  }

  /** Null once it is over. */
  async take(): Promise<FeedItem<Change, Snapshot> | null> {
    while (!this.#stopped.signal.aborted) {
      const item = this.#items.shift()
      if (this.#items.length <= Limits.itemsMax / 2) this.#taken.resolve()
      if (item?.type === "ended") this.stop()
      if (item !== undefined) return item
      await this.#added.promise
      this.#added = Promise.withResolvers()
    }
    return null
  }

  stop(): void {
    this.#stopped.abort()
    this.#added.resolve()
    this.#taken.resolve()
  }

  async #run(): Promise<void> {
    let goesOn = true
    while (goesOn && !this.#stopped.signal.aborted) {
      await this.#roomForMore()
      const ended = this.#wanted === null ? await this.#subscribeOnce() : await this.#read(this.#wanted)
      goesOn = ended === null || (await this.#after(ended))
    }
  }

  async #roomForMore(): Promise<void> {
    if (this.#items.length < Limits.itemsMax) return
    this.#taken = Promise.withResolvers()
    await this.#taken.promise
  }

  /** The snapshot that is wanted. Null: it was read. */
  async #read(reason: "asked" | "resync"): Promise<Ended | null> {
    const outcome = await this.#source.snapshot(this.#stopped.signal)
    if (outcome.status === "failed") {
      const { code, message } = outcome
      return passing.has(code) ? { type: "cut", adviceMs: 0, detail: message } : { type: "fatal", code, message }
    }
    const { data, freshness } = outcome
    if (freshness === null) return { type: "cut", adviceMs: 0, detail: "the desk does not say how fresh it is" }
    this.#cursor = freshness.position
    this.#wanted = null
    this.#isShown = (change) => this.#source.shows(data, change)
    this.#push({ type: "snapshot", reason, position: freshness.position, data, freshness })
    return null
  }

  /** Until it ends; null: it was let go, because it is stopped or its reader is slow. */
  #subscribeOnce(): Promise<Ended | null> {
    const over = Promise.withResolvers<Ended | null>()
    const variables: Record<string, unknown> & { after?: number | null } = {
      ...this.#source.variables,
      after: this.#cursor
    }
    const end = (why: Ended | null) => {
      this.#stopped.signal.removeEventListener("abort", letGo)
      // Said by the line when it connected; without it nobody knows what was missed.
      this.#cursor ??= variables.after ?? null
      over.resolve(why)
    }
    const letGo = () => {
      unsubscribe()
      end(null)
    }
    const unsubscribe = this.#line.subscribe({
      query: this.#source.query,
      variables,
      next: (position, data) => {
        const fault = this.#next(position, data)
        if (fault === null && this.#items.length < Limits.itemsMax) return
        unsubscribe()
        end(fault)
      },
      feed: (state, position) => this.#connected(state, position),
      ended: end
    })
    this.#stopped.signal.addEventListener("abort", letGo)
    if (this.#stopped.signal.aborted) letGo()
    return over.promise
  }

  #next(position: number, data: unknown): Ended | null {
    if (this.#cursor !== null && position <= this.#cursor) return null
    const change = this.#source.read(data)
    if (Result.isFailure(change)) return { type: "fatal", code: "NOT_UNDERSTOOD", message: change.failure.message }
    this.#cursor = position
    if (!this.#isShown(change.success)) this.#push({ type: "change", position, change: change.success })
    return null
  }

  #connected(state: FeedState, position: number | null): void {
    this.#wasConnected = true
    this.#failures = 0
    this.#tokensRefused = 0
    if (position !== null && position > (this.#cursor ?? -1)) this.#cursor = position
    this.#tell(state)
  }

  /** Whether it goes on, after as long as it takes. */
  async #after(ended: Ended): Promise<boolean> {
    switch (ended.type) {
      case "fatal":
        return this.#finish(ended.code, ended.message)
      case "tokenRefused":
        if (++this.#tokensRefused >= Limits.tokensRefusedMax) return this.#finish("Unauthenticated", ended.detail)
        return await this.#pause(0, ended.detail)
      case "resync":
        this.#wanted = "resync"
        // Again at once after a snapshot: what it was read from lags behind what the desk still holds.
        return this.#failures++ === 0 || (await this.#pause(0, "the desk's views are behind"))
      case "cut":
        if (this.#cursor === null && this.#wasConnected) this.#wanted ??= "resync"
        return await this.#pause(ended.adviceMs, ended.detail)
    }
  }

  #finish(code: string, message: string): false {
    this.#push({ type: "ended", code, message })
    return false
  }

  async #pause(adviceMs: number, detail: string): Promise<true> {
    this.#tell("away", detail)
    const { backoffMaxMs: maxMs, backoffMinMs: minMs } = Limits
    const { random, sleep } = this.#desk.timing
    await sleep(adviceMs + backoffMs({ minMs, maxMs }, this.#failures++, random), this.#stopped.signal)
    return true
  }

  #tell(state: FeedState | "away", detail?: string): void {
    if (state === this.#state) return
    this.#state = state
    this.#push({ type: "state", state, ...(detail === undefined ? {} : { detail }) })
  }

  #push(item: FeedItem<Change, Snapshot>): void {
    this.#items.push(item)
    this.#added.resolve()
  }
}

const passing: ReadonlySet<QueryProblemCode> = new Set(["READ_UNAVAILABLE", "UNREACHABLE", "INTERNAL"])
