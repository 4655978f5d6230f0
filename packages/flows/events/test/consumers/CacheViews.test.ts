// The view sync law on the embedded cache: what is cached equals the fold of the log, whatever was lost and made again.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Cache, type CacheKey } from "@holdfast/cache/Cache"
import * as CacheEmbedded from "@holdfast/cache/CacheEmbedded"
import { FileView } from "@holdfast/contracts/attachment/Views"
import { TicketDocument } from "@holdfast/contracts/ticket/Views"
import type { EventLog } from "@holdfast/database/EventLog"
import { ReadTables, type TicketRecord } from "@holdfast/database/ReadTables"
import { applyFile } from "@holdfast/domain/attachment/FileView"
import { fileKey, ticketKey, volumeKey } from "@holdfast/domain/ticket/CachedTicket"
import { applyDocument } from "@holdfast/domain/ticket/TicketView"
import { Health } from "@holdfast/resilience/Health"
import { Cache as Limits } from "@holdfast/resilience/Limits"
import { fullHistory, History, principal } from "@holdfast/testkit/History"
import { Effect, Layer, Schema, type Scope } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { cacheEvents, cacheViews } from "../../src/consumers/CacheViews.ts"
import { GapWatch } from "../../src/consumers/Tend.ts"
import { copyVolume, tendCache } from "../../src/consumers/WarmCache.ts"
import { memoryLog } from "./MemoryLog.ts"

const folder = mkdtempSync(join(tmpdir(), "holdfast-cache-views-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let files = 0
const emptyCache = () =>
  Layer.fresh(CacheEmbedded.layer({ file: join(folder, `${++files}.sqlite`) })).pipe(Layer.provide(Health.layer))

const history = fullHistory().envelopes
const streams = [...Map.groupBy(history, ({ streamId }) => streamId).values()]

const run = <A, E>(effect: Effect.Effect<A, E, Cache | EventLog | Scope.Scope>, log = memoryLog(history)) =>
  Effect.runPromise(Effect.scoped(effect.pipe(Effect.provide(Layer.merge(emptyCache(), log.layer)))))

const keyOf = ([first]: (typeof streams)[number]): CacheKey =>
  first?.streamType === "ticket" ? ticketKey(first.streamId) : fileKey(first?.streamId ?? "")

const cached = Cache.use((cache) => cache.getMany(streams.map(keyOf))).pipe(
  Effect.map((found) => found.map((one) => (one === null ? null : JSON.parse(one.body))))
)

const expected = streams.map((events) => {
  if (events[0]?.streamType === "ticket") {
    const document = events.reduce<TicketDocument | null>(applyDocument, null)
    return document === null ? null : Schema.encodeSync(TicketDocument)(document)
  }
  const view = events.reduce<FileView | null>(applyFile, null)
  return view === null ? null : Schema.encodeSync(FileView)(view)
})

describe("the cached views", () => {
  it("equal the fold of the log when events come one by one", async () => {
    expect(
      await run(
        Effect.andThen(
          Effect.forEach(history, (one) => cacheEvents([one])),
          cached
        )
      )
    ).toEqual(expected)
  })

  it("equal the fold of the log through the consumer, streams in parallel, twice", async () => {
    const work = Effect.gen(function* () {
      const { handle } = yield* cacheViews
      const all = Effect.forEach(streams, (events) => Effect.forEach(events, handle), { concurrency: "unbounded" })
      yield* Effect.andThen(all, all)
      return yield* cached
    })
    expect(await run(work)).toEqual(expected)
  })

  it("make a lost document again from the log", async () => {
    const log = memoryLog(history)
    const newest = streams.flatMap((events) => events.slice(-1))
    expect(await run(Effect.andThen(cacheEvents(newest), cached), log)).toEqual(expected)
    expect(log.asked.length).toBeGreaterThan(0)
  })

  it("put a ticket in the lists of staff and of its requester, and find it by its words", async () => {
    const work = Effect.gen(function* () {
      yield* cacheEvents(history)
      const cache = yield* Cache
      const count = (list: string) => Effect.map(cache.page(list, 10, null), (page) => page.totalCount)
      const found = (words: ReadonlyArray<string>, internal: boolean) =>
        Effect.map(cache.search({ words, internal, countMax: 5 }), (hits) => hits.length)
      return {
        all: yield* count("staff/all"),
        unassigned: yield* count("staff/unassigned"),
        bobs: yield* count("staff/mine/bob"),
        carls: yield* count("customer/carl/all"),
        secretForStaff: yield* found(["secret"], true),
        secretForCarl: yield* found(["secret"], false)
      }
    })
    const counts = { all: 2, unassigned: 1, bobs: 1, carls: 1, secretForStaff: 1, secretForCarl: 0 }
    expect(await run(work)).toEqual(counts)
  })

  it("keep a note out of the order of the customer's list", async () => {
    const past = new History()
    const carl = principal("customer", "carl")
    const ada = principal("agent", "ada")
    const [first, second] = [past.open(carl, "first"), past.open(carl, "second")]
    past.issue(ada, { _tag: "AddNote", ticketId: first, body: "a note" })
    const work = Effect.gen(function* () {
      yield* cacheEvents(past.envelopes)
      const cache = yield* Cache
      const keys = (list: string) =>
        Effect.map(cache.page(list, 10, null), (page) => page.documents.map(({ key }) => key))
      return { staff: yield* keys("staff/all"), customer: yield* keys("customer/carl/all") }
    })
    expect(await run(work, memoryLog(past.envelopes))).toEqual({
      staff: [ticketKey(first), ticketKey(second)],
      customer: [ticketKey(second), ticketKey(first)]
    })
  })

  it("keep the newest part of a conversation that is too long", async () => {
    const past = new History()
    const carl = principal("customer", "carl")
    const ticketId = past.open(carl, "long")
    for (let n = 1; n <= 10; n++) past.issue(carl, { _tag: "ReplyToTicket", ticketId, body: String(n).repeat(30_000) })
    const work = Effect.andThen(
      cacheEvents(past.envelopes),
      Cache.use((cache) => cache.getMany([ticketKey(ticketId)]))
    )
    const [held] = await run(work, memoryLog(past.envelopes))
    const document: unknown = JSON.parse(held?.body ?? "")
    expect(held?.body.length).toBeLessThanOrEqual(Limits.documentLengthMax)
    expect(document).toMatchObject({ truncated: true, ticket: { publicMessageCount: 11 } })
  })
})

describe("an empty cache", () => {
  const tables = Layer.mock(ReadTables)({
    tickets: () =>
      Effect.succeed({ value: { tickets: [], hasNextPage: false, totalCount: null }, position: 3, asOfMs: 0 }),
    conversations: () => Effect.succeed({ value: [], position: 3, asOfMs: 0 }),
    files: () => Effect.succeed({ value: [], position: 3, asOfMs: 0 })
  })

  it("says nothing of how far it has come until it is filled, then holds what the log holds", async () => {
    const work = Effect.gen(function* () {
      const cache = yield* Cache
      yield* cacheEvents(history.slice(-1))
      const before = yield* cache.progress
      yield* tendCache(new GapWatch())
      const filled = yield* cache.progress
      yield* tendCache(new GapWatch())
      return { before, filled, after: yield* cache.progress, documents: yield* cached }
    })
    const { after, before, documents, filled } = await run(Effect.provide(work, tables))
    expect(before).toBeNull()
    expect(filled).toMatchObject({ position: history.length, aheadFrom: null })
    expect(after?.asOfMs).toBeGreaterThan(filled?.asOfMs ?? 0)
    expect(documents).toEqual(expected)
  })

  it("is filled with every ticket that is not solved or closed, and with those that are and changed lately", async () => {
    const day = 86_400_000
    const past = new History()
    const records = (status: string, count: number, agesDays: number): ReadonlyArray<TicketRecord> =>
      Array.from({ length: count }, (_, index) => {
        past.open(principal("customer", "carl"), `${status} ${index}`)
        const document = past.envelopes.slice(-1).reduce<TicketDocument | null>(applyDocument, null)
        if (document === null) throw new Error("an opened ticket has a document")
        const { ticket } = Schema.encodeSync(TicketDocument)(document)
        const updatedAt = new Date(Date.now() - agesDays * day - index).toISOString()
        return { ticket: { ...ticket, status: status === "solved" ? "solved" : "open", updatedAt }, assignee: null }
      })
    const lists = {
      open: [...records("open", 30, 1), ...records("open", 15, 1_000)],
      solved: [...records("solved", 25, 89), ...records("solved", 35, 91)]
    }
    const paged = Layer.mock(ReadTables)({
      tickets: ({ after, first, list }) => {
        const all = list === "open" || list === "solved" ? lists[list] : []
        const from = after === null ? 0 : all.findIndex(({ ticket }) => ticket.id === after.id) + 1
        const tickets = all.slice(from, from + first)
        const value = { tickets, hasNextPage: from + first < all.length, totalCount: null }
        return Effect.succeed({ value, position: past.envelopes.length, asOfMs: 0 })
      },
      conversations: (asked) =>
        Effect.succeed({ value: asked.map(() => ({ messages: [], hasNextPage: false })), position: 0, asOfMs: 0 }),
      files: () => Effect.succeed({ value: [], position: 0, asOfMs: 0 })
    })
    const held = await run(
      Effect.gen(function* () {
        yield* tendCache(new GapWatch())
        const cache = yield* Cache
        const counts = yield* Effect.forEach(["open", "solved", "all"], (list) => cache.page(`staff/${list}`, 1, null))
        return counts.map(({ totalCount }) => totalCount)
      }).pipe(Effect.provide(paged)),
      memoryLog(past.envelopes)
    )
    expect(held).toEqual([45, 25, 70])
  })

  it("is not current while committed events wait for their positions", async () => {
    const work = Effect.gen(function* () {
      const cache = yield* Cache
      yield* tendCache(new GapWatch())
      const filled = yield* cache.progress
      yield* tendCache(new GapWatch())
      return { filled, after: yield* cache.progress }
    })
    const { after, filled } = await run(Effect.provide(work, tables), memoryLog(history, true))
    expect(after).toEqual(filled)
  })

  it("copies the hourly volume as the read database says it", async () => {
    const hours = [{ hour: "2026-11-22T10:00:00Z", opened: 1, solved: 2, replies: 3 }]
    const volume = Layer.mock(ReadTables)({ volume: () => Effect.succeed({ value: hours, position: 9, asOfMs: 8 }) })
    const nowMs = Date.parse("2026-11-22T11:30:00Z")
    const work = Effect.andThen(
      copyVolume(nowMs),
      Cache.use((cache) => cache.getMany([volumeKey]))
    )
    const [held] = await run(Effect.provide(work, volume))
    expect(JSON.parse(held?.body ?? "")).toEqual({
      fromMs: Date.parse("2026-10-22T12:00:00Z"),
      position: 9,
      asOfMs: 8,
      hours
    })
  })
})
