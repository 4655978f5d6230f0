// A desk to ask: the embedded cache filled from a history, and a read database that answers from the same history or is away, as the test
// says. No server is needed.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Cache, type CacheEntry } from "@holdfast/cache/Cache"
import * as CacheEmbedded from "@holdfast/cache/CacheEmbedded"
import { FileView } from "@holdfast/contracts/attachment/Views"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { type Principal, toPersonRef } from "@holdfast/contracts/Principal"
import { TicketDocument } from "@holdfast/contracts/ticket/Views"
import { type NotificationPage, type NotificationPageRequest, ReadTables } from "@holdfast/database/ReadTables"
import { applyFile } from "@holdfast/domain/attachment/FileView"
import { notificationFor } from "@holdfast/domain/notification/Notifications"
import {
  type CachedVolume,
  fileKey,
  placesOf,
  ticketKey,
  volumeKey,
  wordsOfDocument
} from "@holdfast/domain/ticket/CachedTicket"
import { applyDocument } from "@holdfast/domain/ticket/TicketView"
import { Health } from "@holdfast/resilience/Health"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { DateTime, Effect, Layer, ManagedRuntime, Redacted, Schema } from "effect"
import * as CachedReads from "../src/CachedReads.ts"
import { type Executed, layer, QueryExecutor, type QueryRequest } from "../src/graphql/Execute.ts"
import { Reads } from "../src/Reads.ts"

const away = (dependency: "read-database" | "cache") =>
  new Unavailable({ dependency, reason: "unreachable", retryAfterMs: 1000, detail: "it is away in this test" })

export interface Outage {
  database: boolean
  cache: boolean
}

export const downloads = { key: Redacted.make("k".repeat(32)), publicUrl: "http://files.test" }

/** `asked` counts statements by name. The read database stands where `behind` ends until it catches up; the cache has all of the history. */
export const startDesk = async (history: ReadonlyArray<Envelope>, behind: ReadonlyArray<Envelope> = history) => {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-queries-"))
  const outage: Outage = { database: false, cache: false }
  const asked: Array<string> = []
  const file = (name: string) =>
    Layer.fresh(CacheEmbedded.layer({ file: join(folder, name) })).pipe(Layer.provide(Health.layer))
  let catchUp: Effect.Effect<unknown, Unavailable> = Effect.void
  const tables = Layer.effect(
    ReadTables,
    Effect.gen(function* () {
      const held = yield* Cache
      yield* fill(held, behind)
      catchUp = fill(held, history)
      return tablesOn(held, history, outage, asked)
    })
  ).pipe(Layer.provide(file("live")))
  const cache = Layer.effect(
    Cache,
    Effect.map(
      Effect.tap(Cache, (held) => fill(held, history)),
      (held) => breakable(held, outage)
    )
  ).pipe(Layer.provide(file("cached")))
  const executor = layer({ downloads }).pipe(Layer.provide(Reads.layer), Layer.provide([tables, cache]))
  const runtime = ManagedRuntime.make(executor)
  await runtime.runPromise(QueryExecutor)
  const execute = (viewer: Principal, request: Partial<QueryRequest>): Promise<Executed> =>
    runtime.runPromise(
      QueryExecutor.use((one) =>
        one.execute(viewer, { variables: {}, operationName: null, persistedHash: null, ...request })
      )
    )
  /** The response, as a client parses it. */
  const ask = async (viewer: Principal, query: string, variables: Readonly<Record<string, unknown>> = {}) => {
    const { response } = await execute(viewer, { query, variables })
    return JSON.parse(JSON.stringify(response))
  }
  const stop = async () => {
    await runtime.dispose()
    rmSync(folder, { recursive: true, force: true })
  }
  return { ask, execute, outage, asked, catchUp: () => Effect.runPromise(catchUp), stop, executor }
}

const noWords = { public: [], internal: [] }

export const fill = (cache: Cache["Service"], history: ReadonlyArray<Envelope>) => {
  const entries = [...Map.groupBy(history, ({ streamId }) => streamId).values()].flatMap(entryOf)
  const last = history.at(-1)
  const through = last?.position ?? 0
  return Effect.andThen(
    cache.put([...entries, volumeEntry]),
    Effect.flatMap(cache.beginFilling, (filling) =>
      cache.advance({ applied: [], through, filling, currentAtMs: 1_000, nowMs: 1_000 })
    )
  )
}

const hoursOfVolume = ["07", "08", "09", "10"].map((hour, index) => ({
  hour: `2026-01-05T${hour}:00:00Z`,
  opened: index + 2,
  solved: 0,
  replies: 0
}))
const kept: CachedVolume = {
  fromMs: Date.parse("2026-01-01T00:00:00Z"),
  position: 7,
  asOfMs: 900,
  hours: hoursOfVolume
}
const volumeEntry: CacheEntry = {
  key: volumeKey,
  version: 1,
  body: JSON.stringify(kept),
  score: 1,
  lists: [],
  words: noWords
}

const entryOf = (events: ReadonlyArray<Envelope>): ReadonlyArray<CacheEntry> => {
  const document = events.reduce<TicketDocument | null>(applyDocument, null)
  const view = events.reduce<FileView | null>(applyFile, null)
  if (document !== null) {
    const { ticket } = document
    const body = JSON.stringify(Schema.encodeSync(TicketDocument)(document))
    const score = DateTime.toEpochMillis(ticket.updatedAt)
    const words = wordsOfDocument(document, 100)
    return [{ key: ticketKey(ticket.id), version: ticket.version, body, score, lists: placesOf(ticket), words }]
  }
  if (view === null) return []
  const body = JSON.stringify(Schema.encodeSync(FileView)(view))
  return [{ key: fileKey(view.id), version: view.version, body, score: 1, lists: [], words: noWords }]
}

/** Answers as the cache would, counting, unless it is away. */
const tablesOn = (
  held: Cache["Service"],
  history: ReadonlyArray<Envelope>,
  outage: Outage,
  asked: Array<string>
): ReadTables["Service"] => {
  const reads = CachedReads.make(held)
  const position = history.at(-1)?.position ?? 0
  const counted = <A>(name: string, read: Effect.Effect<A, Unavailable>) =>
    Effect.suspend(() => {
      asked.push(name)
      return outage.database ? Effect.fail(away("read-database")) : read
    })
  return {
    tickets: (request) => counted("tickets", reads.tickets(request)),
    ticketsByIds: (ids) => counted("ticketsByIds", reads.ticketsByIds(ids)),
    conversations: (requests) => counted("conversations", reads.conversations(requests)),
    files: (ids) => counted("files", reads.files(ids)),
    ticketsShowingFile: (fileId, requesterId) =>
      counted("ticketsShowingFile", reads.ticketsShowingFile(fileId, requesterId)),
    search: (request) => counted("search", reads.search(request)),
    volume: () => counted("volume", Effect.succeed({ value: [], position, asOfMs: 1 })),
    notifications: (request) =>
      counted("notifications", Effect.succeed({ value: notificationsFrom(history, request), position, asOfMs: 1 }))
  }
}

/** As the read database gives them; every second one is read. */
const notificationsFrom = (
  history: ReadonlyArray<Envelope>,
  { before, first, reader, unreadOnly }: NotificationPageRequest
): NotificationPage => {
  const own = history.flatMap((envelope, index) => {
    const role = reader.isStaff ? "agent" : "customer"
    const kind = notificationFor(envelope, { id: reader.id, role })
    const atMs = DateTime.toEpochMillis(envelope.occurredAt)
    return kind === null
      ? []
      : [
          {
            eventId: envelope.eventId,
            position: envelope.position,
            kind,
            actor: toPersonRef(envelope.principal),
            ticketId: envelope.streamType === "ticket" ? envelope.streamId : null,
            fileId: envelope.streamType === "file" ? envelope.streamId : null,
            occurredAtMs: atMs,
            readAtMs: index % 2 === 0 ? atMs : null
          }
        ]
  })
  const unread = own.filter(({ readAtMs }) => readAtMs === null)
  const asked = (unreadOnly ? unread : own).filter(({ position }) => before === null || position < before).reverse()
  return { notifications: asked.slice(0, first), hasNextPage: asked.length > first, unreadCount: unread.length }
}

const breakable = (cache: Cache["Service"], outage: Outage): Cache["Service"] => ({
  ...cache,
  progress: Effect.suspend(() => (outage.cache ? Effect.fail(away("cache")) : cache.progress))
})
