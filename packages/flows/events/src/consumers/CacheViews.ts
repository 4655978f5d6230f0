// The consumer group `cache`: folds events into the cached read models. A document that the cache does not hold, or holds with a gap, is
// made again from the log. An empty cache (new, flushed, lost) is filled with the hot tickets from the read database and the
// events that came after that snapshot, and only then says how far it has come: until then nobody takes a missing document for a
// missing ticket.
import type { Consumer } from "@holdfast/broker/Consumer"
import { Cache, type CacheDocument, type CacheEntry } from "@holdfast/cache/Cache"
import { FileView } from "@holdfast/contracts/attachment/Views"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { PersonRef } from "@holdfast/contracts/Principal"
import { TicketDocument } from "@holdfast/contracts/ticket/Views"
import type { EventLog } from "@holdfast/database/EventLog"
import { applyFile } from "@holdfast/domain/attachment/FileView"
import { fileKey, personKey, placesOf, ticketKey, wordsOfDocument } from "@holdfast/domain/ticket/CachedTicket"
import { applyDocument } from "@holdfast/domain/ticket/TicketView"
import { Cache as Limits } from "@holdfast/resilience/Limits"
import { Clock, DateTime, Effect, Schema } from "effect"
import { batched } from "./Batch.ts"
import { continuing } from "./Missing.ts"
import { type NamedPerson, peopleIn } from "./People.ts"
import { appliedOf } from "./ProjectViews.ts"

export const cacheViews = Effect.gen(function* () {
  const context = yield* Effect.context<Cache | EventLog>()
  const handle = yield* batched((envelopes) => Effect.provide(cacheEvents(envelopes), context))
  return { group: "cache", handle } satisfies Consumer
})

/** Applies events of any streams, each stream's in order; repeating any of them changes nothing. */
export const cacheEvents = Effect.fn("CacheViews.cacheEvents")(function* (envelopes: ReadonlyArray<Envelope>) {
  const cache = yield* Cache
  const shown = envelopes.filter(({ streamType }) => streamType !== "inbox")
  const streams = [...Map.groupBy(shown, ({ streamId }) => streamId).values()]
  const keys = streams.map(([first]) =>
    first?.streamType === "ticket" ? ticketKey(first.streamId) : fileKey(first?.streamId ?? "")
  )
  const held = yield* cache.getMany(keys)
  const entries = yield* Effect.forEach(streams, (batch, index) =>
    batch[0]?.streamType === "ticket" ? foldTicket(held[index] ?? null, batch) : foldFile(held[index] ?? null, batch)
  )
  yield* cache.put([...entries.filter((entry) => entry !== null), ...peopleIn(envelopes).map(personEntry)])
  yield* cache.advance({ applied: envelopes.map(appliedOf), nowMs: yield* Clock.currentTimeMillis })
})

const TicketBody = Schema.fromJsonString(TicketDocument)
const decodeTicket = Schema.decodeUnknownSync(TicketBody)
const encodeTicket = Schema.encodeSync(TicketBody)
const FileBody = Schema.fromJsonString(FileView)
const decodeFile = Schema.decodeUnknownSync(FileBody)
const encodeFile = Schema.encodeSync(FileBody)
const encodePerson = Schema.encodeSync(Schema.fromJsonString(PersonRef))

const foldTicket = Effect.fnUntraced(function* (held: CacheDocument | null, batch: ReadonlyArray<Envelope>) {
  const events = yield* continuing(held?.version ?? 0, batch)
  const document = events.reduce(applyDocument, held === null ? null : decodeTicket(held.body))
  return document === null || events.length === 0 ? null : ticketEntry(document)
})

const foldFile = Effect.fnUntraced(function* (held: CacheDocument | null, batch: ReadonlyArray<Envelope>) {
  const events = yield* continuing(held?.version ?? 0, batch)
  const view = events.reduce(applyFile, held === null ? null : decodeFile(held.body))
  return view === null || events.length === 0 ? null : fileEntry(view)
})

export const ticketEntry = (document: TicketDocument): CacheEntry => {
  const { document: bounded, body } = boundedBody(document)
  const { ticket } = bounded
  return {
    key: ticketKey(ticket.id),
    version: ticket.version,
    body,
    score: DateTime.toEpochMillis(ticket.updatedAt),
    lists: placesOf(ticket),
    words: wordsOfDocument(document, Limits.wordsPerDocumentMax)
  }
}

/** Long messages make a document too large long before there are many: the oldest leave first. */
const boundedBody = (document: TicketDocument): { readonly document: TicketDocument; readonly body: string } => {
  const body = encodeTicket(document)
  if (body.length <= Limits.documentLengthMax || document.messages.length <= 1) return { document, body }
  const messages = document.messages.slice(Math.ceil(document.messages.length / 2))
  return boundedBody({ ...document, messages, truncated: true })
}

export const noWords = { public: [], internal: [] }

export const fileEntry = (file: FileView): CacheEntry => ({
  key: fileKey(file.id),
  version: file.version,
  body: encodeFile(file),
  score: DateTime.toEpochMillis(file.updatedAt),
  lists: [],
  words: noWords
})

export const personEntry = ({ person, position }: NamedPerson): CacheEntry => ({
  key: personKey(person.id),
  version: position,
  body: encodePerson(person),
  score: position,
  lists: [],
  words: noWords
})
