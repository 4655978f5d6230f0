// The same questions answered from the cached read models. Documents hold the newest part of each conversation and lists their newest
// 500 tickets: what lies beyond is said to be beyond, not to be nothing.
import type { Cache, CacheDocument } from "@holdfast/cache/Cache"
import type { TicketDocument } from "@holdfast/contracts/ticket/Views"
import type {
  Conversation,
  ConversationRequest,
  FileJson,
  PersonJson,
  Read,
  ReadTables,
  SearchHit,
  SearchRequest,
  TicketPage,
  TicketPageRequest,
  TicketRecord,
  VolumeHour
} from "@holdfast/database/ReadTables"
import {
  type CachedVolume,
  cachedList,
  fileKey,
  personKey,
  ticketKey,
  volumeKey
} from "@holdfast/domain/ticket/CachedTicket"
import { allWords } from "@holdfast/domain/ticket/SearchWords"
import { Queries } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Duration, Effect } from "effect"

type CacheService = Cache["Service"]
type DocumentJson = typeof TicketDocument.Encoded
export type CachedTables = ReadTables["Service"]

export const make = (cache: CacheService): CachedTables => ({
  tickets: (request) => answered(cache, tickets(cache, request)),
  ticketsByIds: (ids) => answered(cache, ticketsByIds(cache, ids)),
  conversations: (requests) => answered(cache, conversations(cache, requests)),
  files: (ids) => answered(cache, files(cache, ids)),
  ticketsShowingFile: (fileId, requesterId) => answered(cache, ticketsShowingFile(cache, fileId, requesterId)),
  search: (request) => answered(cache, search(cache, request)),
  volume: (fromMs, hours) => volume(cache, fromMs, hours),
  // Each event would have to change the documents of several people at once. What happens meanwhile, the subscription tells.
  notifications: () => Effect.fail(unavailable("it does not hold this"))
})

/** With how far the cache has come, read before the answer so that it never claims too much. Empty: it cannot answer. */
const answered = <A>(cache: CacheService, read: Effect.Effect<A, Unavailable>): Effect.Effect<Read<A>, Unavailable> =>
  Effect.gen(function* () {
    const progress = yield* cache.progress
    if (progress === null) return yield* unavailable("it is empty and waits to be filled")
    const value = yield* read
    // Emptied in between, it shows nothing where there is something.
    if ((yield* cache.progress) === null) return yield* unavailable("it has just been emptied")
    return { value, position: progress.position, asOfMs: progress.asOfMs }
  })

const unavailable = (detail: string) =>
  new Unavailable({
    dependency: "cache",
    reason: "refused",
    retryAfterMs: Duration.toMillis(Queries.retryAfter),
    detail
  })

const tickets = Effect.fnUntraced(function* (cache: CacheService, request: TicketPageRequest) {
  const { after, first, list, reader } = request
  const cursor = after === null ? null : { score: after.updatedMs, key: ticketKey(after.id) }
  const page = yield* cache.page(cachedList(list, reader), first, cursor)
  const records = yield* withAssignees(cache, page.documents.map(parseTicket))
  return { tickets: records, hasNextPage: page.hasNextPage, totalCount: page.totalCount } satisfies TicketPage
})

const ticketsByIds = Effect.fnUntraced(function* (cache: CacheService, ids: ReadonlyArray<string>) {
  return yield* withAssignees(cache, (yield* whole(cache.getMany(ids.map(ticketKey)))).map(parseTicket))
})

const conversations = Effect.fnUntraced(function* (cache: CacheService, requests: ReadonlyArray<ConversationRequest>) {
  const held = yield* whole(cache.getMany(requests.map(({ ticketId }) => ticketKey(ticketId))))
  return requests.map((request, index) => conversationOf(held[index], request))
})

const conversationOf = (held: CacheDocument | undefined, request: ConversationRequest): Conversation => {
  const document = held === undefined ? null : parseTicket(held)
  const all = document?.messages ?? []
  const from = all.findIndex(({ id }) => id === request.after) + 1
  const readable = all.slice(from).filter(({ audience }) => request.internal || audience === "public")
  const truncated = document?.truncated ?? false
  return { messages: readable.slice(0, request.first), hasNextPage: readable.length > request.first, truncated }
}

const files = Effect.fnUntraced(function* (cache: CacheService, ids: ReadonlyArray<string>) {
  return (yield* whole(cache.getMany(ids.map(fileKey)))).map((document): FileJson => JSON.parse(document.body))
})

/** Among the requester's newest tickets: what is not there may be on an older one. */
const ticketsShowingFile = Effect.fnUntraced(function* (cache: CacheService, fileId: string, requesterId: string) {
  const list = cachedList("all", { id: requesterId, isStaff: false })
  const page = yield* cache.page(list, Queries.pageMax, null)
  const showing = page.documents
    .map(parseTicket)
    .filter(({ ticket }) => ticket.attachments.some((one) => one.fileId === fileId && one.audience === "public"))
  if (showing.length === 0 && page.hasNextPage) return yield* unavailable("it does not look through so many tickets")
  return yield* withAssignees(cache, showing)
})

const search = Effect.fnUntraced(function* (cache: CacheService, { first, offset, reader, words }: SearchRequest) {
  const found = yield* cache.search({ words, internal: reader.isStaff, countMax: Queries.searchResultsMax })
  const documents = found
    .map(parseTicket)
    .filter(({ ticket }) => reader.isStaff || ticket.requester.id === reader.id)
    .slice(offset, offset + first)
  const records = yield* withAssignees(cache, documents)
  return records.map((record, index): SearchHit => {
    const messages = (documents[index]?.messages ?? []).filter(
      ({ audience }) => reader.isStaff || audience === "public"
    )
    const best = messages.find(({ body }) => allWords(body).some((word) => words.includes(word))) ?? messages[0]
    return { ...record, body: best?.body ?? "", rank: 0 }
  })
})

/** As the read database last said it, which the answer's age tells. */
const volume = Effect.fnUntraced(function* (cache: CacheService, fromMs: number, hours: number) {
  const [held] = yield* cache.getMany([volumeKey])
  if (held == null) return yield* unavailable("it does not hold this")
  const kept: CachedVolume = JSON.parse(held.body)
  if (fromMs < kept.fromMs) return yield* unavailable("it does not go back so far")
  const untilMs = fromMs + hours * Duration.toMillis(Duration.hours(1))
  const value = kept.hours.filter(({ hour }) => Date.parse(hour) >= fromMs && Date.parse(hour) < untilMs)
  return { value, position: kept.position, asOfMs: kept.asOfMs } satisfies Read<ReadonlyArray<VolumeHour>>
})

const parseTicket = (document: CacheDocument): DocumentJson => JSON.parse(document.body)

/** All or nothing: what is not held may exist. */
const whole = (read: Effect.Effect<ReadonlyArray<CacheDocument | null>, Unavailable>) =>
  Effect.flatMap(read, (found) => {
    const held = found.filter((one) => one !== null)
    return held.length === found.length ? Effect.succeed(held) : Effect.fail(unavailable("it does not hold this"))
  })

const withAssignees = Effect.fnUntraced(function* (cache: CacheService, documents: ReadonlyArray<DocumentJson>) {
  const ids = [...new Set(documents.flatMap(({ ticket }) => ticket.assigneeId ?? []))]
  const held = yield* cache.getMany(ids.map(personKey))
  const people = new Map(ids.map((id, index) => [id, held[index]]))
  return documents.map(({ ticket }): TicketRecord => {
    if (ticket.assigneeId === null) return { ticket, assignee: null }
    const person = people.get(ticket.assigneeId)
    const assignee: PersonJson = person == null ? { id: ticket.assigneeId } : JSON.parse(person.body)
    return { ticket, assignee }
  })
})
