// Fills an empty cache and keeps a filled one honest about its age. A snapshot of the hot tickets comes from the read database, page by
// page; what the log holds after the snapshot's position is applied on top, since the consumer may have seen those events before the
// cache was lost. Bounded; broken off anywhere, the next round begins again and changes nothing twice.
import { Cache, type CacheEntry } from "@holdfast/cache/Cache"
import { FileView } from "@holdfast/contracts/attachment/Views"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position, PrincipalId, StreamId, StreamVersion } from "@holdfast/contracts/Ids"
import { TicketDocument } from "@holdfast/contracts/ticket/Views"
import { EventLog } from "@holdfast/database/EventLog"
import { type Conversation, ReadTables, type TicketRecord } from "@holdfast/database/ReadTables"
import { type CachedVolume, volumeKey } from "@holdfast/domain/ticket/CachedTicket"
import { applyDocument, documentMessagesMax } from "@holdfast/domain/ticket/TicketView"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Cache as Limits, Queries, Relay, Views } from "@holdfast/resilience/Limits"
import { Clock, Duration, Effect, Schema } from "effect"
import { cacheEvents, fileEntry, noWords, personEntry, ticketEntry } from "./CacheViews.ts"
import { adviceFor, GapWatch } from "./Tend.ts"

/** One round: fills an empty cache; says that a filled one is current, or passes a gap. Which of both it found. */
export const tendCache = Effect.fnUntraced(function* (watch: GapWatch) {
  const cache = yield* Cache
  const progress = yield* cache.progress
  if (progress === null) return yield* Effect.as(warm, "empty" as const)
  const advice = yield* adviceFor(progress, watch)
  if (advice !== null) yield* cache.advance(advice)
  return "filled" as const
})

/** For as long as the process runs; the first round at once. */
export const keepCacheCurrent = Effect.suspend(() => {
  const watch = new GapWatch()
  let emptied = 0
  let volumeAtMs = 0
  const round = Effect.gen(function* () {
    emptied = (yield* tendCache(watch)) === "empty" ? emptied + 1 : 0
    if (emptied > 1) yield* Effect.logWarning(`the cache was emptied ${emptied} times in a row: it is too small`)
    const nowMs = yield* Clock.currentTimeMillis
    if (nowMs - volumeAtMs >= Duration.toMillis(Views.volumeEvery)) {
      yield* copyVolume(nowMs)
      volumeAtMs = nowMs
    }
    // A cache that loses what it was just given must not cost the read database a snapshot every time.
    const times = 2 ** Math.min(Math.max(0, emptied - 1), 10)
    yield* Effect.sleep(Duration.min(Duration.times(Views.currentEvery, times), Views.refillDelayMax))
  })
  return keepRunning("keeping the cached read models current", Effect.forever(round))
})

/** Counted once and by one consumer, so it is copied rather than counted again. */
export const copyVolume = Effect.fnUntraced(function* (nowMs: number) {
  const cache = yield* Cache
  const tables = yield* ReadTables
  const hourMs = Duration.toMillis(Duration.hours(1))
  const fromMs = (Math.floor(nowMs / hourMs) - Queries.volumeHoursMax + 1) * hourMs
  const { asOfMs, position, value } = yield* tables.volume(fromMs, Queries.volumeHoursMax)
  const kept: CachedVolume = { fromMs, position, asOfMs, hours: value }
  const body = JSON.stringify(kept)
  yield* cache.put([{ key: volumeKey, version: nowMs, body, score: nowMs, lists: [], words: noWords }])
})

const warm = Effect.gen(function* () {
  const cache = yield* Cache
  const filling = yield* cache.beginFilling
  const { count, position } = yield* snapshot
  const reached = yield* replay(position)
  const nowMs = yield* Clock.currentTimeMillis
  yield* cache.advance({ applied: [], through: reached, filling, nowMs })
  yield* Effect.logInfo(`the cache was empty and holds ${count} tickets again`)
})

const ticketsPerRound = 20
const roundsPerWord = 100
/** Whose lists are walked: any member of staff sees every ticket in them. */
const reader = { id: PrincipalId.make("cache"), isStaff: true }

/** At the position of its first page at the least: what moves from one list to the other meanwhile, moves in a later event. */
const snapshot = Effect.gen(function* () {
  const nowMs = yield* Clock.currentTimeMillis
  const open = yield* walk("open", Number.NEGATIVE_INFINITY, 0)
  const hot = yield* walk("solved", nowMs - Duration.toMillis(Views.hotFor), open.count)
  return { count: hot.count, position: Position.make(open.position ?? 0) }
})

/** Newest first, until one that changed last before `sinceMs`, or until the cache is full. */
const walk = Effect.fnUntraced(function* (list: "open" | "solved", sinceMs: number, countBefore: number) {
  const tables = yield* ReadTables
  let position: number | null = null
  let [count, rounds] = [countBefore, 0]
  let after: { readonly updatedMs: number; readonly id: string } | null = null
  let more = true
  while (more && count < Limits.documentsPerKindMax) {
    const page: Effect.Success<ReturnType<typeof tables.tickets>> = yield* tables.tickets({
      ...{ list, reader, after },
      first: ticketsPerRound,
      withCount: false
    })
    position ??= page.position
    const hot = page.value.tickets.filter(({ ticket }) => Date.parse(ticket.updatedAt) >= sinceMs)
    yield* putPage(hot)
    count += hot.length
    const last = hot.at(-1)?.ticket
    after = last === undefined ? null : { updatedMs: Date.parse(last.updatedAt), id: last.id }
    more = page.value.hasNextPage && hot.length === page.value.tickets.length
    if (++rounds % roundsPerWord === 0) yield* Effect.logInfo(`the cache is being filled: ${count} tickets so far`)
  }
  return { count, position }
})

const decodeDocument = Schema.decodeUnknownSync(TicketDocument)
const decodeFile = Schema.decodeUnknownSync(FileView)

const putPage = Effect.fnUntraced(function* (records: ReadonlyArray<TicketRecord>) {
  const tables = yield* ReadTables
  const cache = yield* Cache
  const conversations = yield* tables.conversations(
    records.map(({ ticket }) => ({
      ticketId: decodeId(ticket.id),
      after: null,
      first: documentMessagesMax,
      internal: true
    }))
  )
  const documents = yield* Effect.forEach(records, (record, index) => documentOf(record, conversations.value[index]))
  const fileIds = documents.flatMap((document) => document?.ticket.attachments.map(({ fileId }) => fileId) ?? [])
  const files = yield* tables.files(fileIds)
  yield* cache.put([
    ...documents.filter((document) => document !== null).map(ticketEntry),
    ...files.value.map((file) => fileEntry(decodeFile(file))),
    ...records.flatMap(peopleOf)
  ])
})

const decodeId = Schema.decodeUnknownSync(TicketDocument.fields.ticket.fields.id)

/** A page of the conversation is the whole of it, or the log has the newest part. */
const documentOf = Effect.fnUntraced(function* ({ ticket }: TicketRecord, conversation: Conversation | undefined) {
  if (conversation === undefined || conversation.hasNextPage) {
    const log = yield* EventLog
    const events = yield* log.readStream(StreamId.make(ticket.id), StreamVersion.make(0))
    return events.reduce<TicketDocument | null>(applyDocument, null)
  }
  // The two statements are of two moments: what came between them belongs to a later version.
  const messages = conversation.messages.filter(({ version }) => version <= ticket.version)
  return decodeDocument({ ticket, messages, truncated: false })
})

/** At position 0, so that whatever an event says later is newer. */
const peopleOf = ({ assignee, ticket }: TicketRecord): ReadonlyArray<CacheEntry> =>
  [ticket.requester, assignee]
    .filter((person) => person?.name !== undefined || person?.email !== undefined)
    .filter((person) => person !== null)
    .map((person) => personEntry({ person: { ...person, id: PrincipalId.make(person.id) }, role: null, position: 0 }))

/** Everything in the log after a position, page by page; how far that was. */
const replay = Effect.fnUntraced(function* (from: Position) {
  const log = yield* EventLog
  let position = from
  let events: ReadonlyArray<Envelope> = []
  do {
    events = yield* log.readAfter(position, Relay.batchEventsMax)
    if (events.length > 0) yield* cacheEvents(events)
    position = events.at(-1)?.position ?? position
  } while (events.length > 0)
  return position
})
