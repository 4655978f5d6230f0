// What every layer of the cache promises, as one suite.
import { describe, expect, layer as withLayer } from "@effect/vitest"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Effect, type Layer } from "effect"
import { Cache, type CacheEntry, type CacheKey } from "../src/Cache.ts"

let made = 0
const id = () => `t${String(++made).padStart(6, "0")}`
const fresh = (): CacheKey => `ticket/${id()}`

const entry = (key: CacheKey, version: number, rest: Partial<CacheEntry> = {}): CacheEntry => ({
  key,
  version,
  body: JSON.stringify({ key, version }),
  score: version,
  lists: [],
  words: { public: [], internal: [] },
  ...rest
})

const keysOf = (documents: ReadonlyArray<{ readonly key: CacheKey } | null>) => documents.map((one) => one?.key)

export const contract = (name: string, layer: Layer.Layer<Cache, Unavailable>) =>
  describe(name, () =>
    withLayer(layer, { excludeTestServices: true })("a cache", (it) => {
      it.effect("gives documents in the order asked for, null for what it does not hold", () =>
        Effect.gen(function* () {
          const cache = yield* Cache
          const [a, b, missing] = [fresh(), fresh(), fresh()]
          yield* cache.put([entry(a, 1), entry(b, 2)])
          const found = yield* cache.getMany([b, missing, a])
          expect(found).toEqual([
            { key: b, version: 2, body: JSON.stringify({ key: b, version: 2 }) },
            null,
            expect.anything()
          ])
          expect(yield* cache.getMany([])).toEqual([])
        })
      )

      it.effect("keeps the newer version whichever is put first", () =>
        Effect.gen(function* () {
          const cache = yield* Cache
          const key = fresh()
          const list = id()
          yield* cache.put([entry(key, 2, { lists: [{ list, score: 2 }] })])
          yield* cache.put([entry(key, 1), entry(key, 2, { body: "same version" })])
          const [held] = yield* cache.getMany([key])
          expect(held?.body).toBe(JSON.stringify({ key, version: 2 }))
          expect((yield* cache.page(list, 10, null)).totalCount).toBe(1)
          yield* cache.put([entry(key, 3)])
          expect((yield* cache.getMany([key]))[0]?.version).toBe(3)
        })
      )

      it.effect("moves a document between lists and words in one put", () =>
        Effect.gen(function* () {
          const cache = yield* Cache
          const key = fresh()
          const [open, solved, before, after] = [id(), id(), id(), id()]
          yield* cache.put([
            entry(key, 1, { lists: [{ list: open, score: 1 }], words: { public: [before], internal: [] } })
          ])
          yield* cache.put([
            entry(key, 2, { lists: [{ list: solved, score: 2 }], words: { public: [after], internal: [] } })
          ])
          expect(yield* cache.page(open, 10, null)).toEqual({ documents: [], totalCount: 0, hasNextPage: false })
          expect(keysOf((yield* cache.page(solved, 10, null)).documents)).toEqual([key])
          expect(yield* cache.search({ words: [before], internal: true, countMax: 5 })).toEqual([])
          expect(keysOf(yield* cache.search({ words: [after], internal: false, countMax: 5 }))).toEqual([key])
        })
      )

      it.effect("pages through a list, newest first, equal scores by key, without gap or repetition", () =>
        Effect.gen(function* () {
          const cache = yield* Cache
          const list = id()
          const keys = Array.from({ length: 7 }, fresh)
          const scores = new Map(keys.map((key, index) => [key, 1_763_850_000_000 + Math.floor(index / 3)]))
          const scoreOf = (key: CacheKey) => scores.get(key) ?? 0
          yield* cache.put(keys.map((key) => entry(key, 1, { lists: [{ list, score: scoreOf(key) }] })))
          const seen: Array<CacheKey> = []
          let more = true
          while (more) {
            const last = seen.at(-1)
            const page = yield* cache.page(list, 2, last === undefined ? null : { score: scoreOf(last), key: last })
            seen.push(...page.documents.map((one) => one.key))
            more = page.hasNextPage
            expect(page.totalCount).toBe(7)
          }
          expect(seen).toEqual([...keys].reverse())
        })
      )

      it.effect("goes on after a cursor whose document has left the list", () =>
        Effect.gen(function* () {
          const cache = yield* Cache
          const list = id()
          const [a, b, c] = [fresh(), fresh(), fresh()]
          yield* cache.put([a, b, c].map((key, index) => entry(key, 1, { lists: [{ list, score: index }] })))
          yield* cache.remove([b])
          expect(keysOf((yield* cache.page(list, 10, { score: 1, key: b })).documents)).toEqual([a])
        })
      )

      it.effect("finds by every word, newest first, and by internal words for staff alone", () =>
        Effect.gen(function* () {
          const cache = yield* Cache
          const [shared, secret, other] = [id(), id(), id()]
          const [a, b] = [fresh(), fresh()]
          yield* cache.put([
            entry(a, 1, { words: { public: [shared, other], internal: [secret] } }),
            entry(b, 2, { words: { public: [shared], internal: [] } })
          ])
          const search = (words: ReadonlyArray<string>, internal: boolean) =>
            cache.search({ words, internal, countMax: 10 })
          expect(keysOf(yield* search([shared], false))).toEqual([b, a])
          expect(keysOf(yield* search([shared, other], false))).toEqual([a])
          expect(yield* search([secret], false)).toEqual([])
          expect(keysOf(yield* search([shared, secret], true))).toEqual([a])
          expect(yield* search([], true)).toEqual([])
        })
      )

      it.effect("finds words of any script, and operators as the words that they are", () =>
        Effect.gen(function* () {
          const cache = yield* Cache
          const key = fresh()
          const words = ["drucker", "принтер", "打印机", "not", "or", "public", id()]
          yield* cache.put([entry(key, 1, { words: { public: words, internal: [] } })])
          for (const word of words) {
            const found = yield* cache.search({ words: [word, ...words.slice(-1)], internal: false, countMax: 5 })
            expect(keysOf(found)).toEqual([key])
          }
        })
      )

      it.effect("forgets a removed document everywhere, and takes it again", () =>
        Effect.gen(function* () {
          const cache = yield* Cache
          const key = fresh()
          const [list, word] = [id(), id()]
          const held = entry(key, 5, { lists: [{ list, score: 1 }], words: { public: [word], internal: [] } })
          yield* cache.put([held])
          yield* cache.remove([key, fresh()])
          expect(yield* cache.getMany([key])).toEqual([null])
          expect((yield* cache.page(list, 5, null)).totalCount).toBe(0)
          expect(yield* cache.search({ words: [word], internal: false, countMax: 5 })).toEqual([])
          yield* cache.put([{ ...held, version: 1 }])
          expect((yield* cache.page(list, 5, null)).totalCount).toBe(1)
        })
      )

      it.effect("knows how far it has come, gaps included", () =>
        Effect.gen(function* () {
          const cache = yield* Cache
          const at = (position: number) => ({ position, occurredAtMs: 1000 + position })
          expect(yield* cache.progress).toBeNull()
          yield* cache.advance({ applied: [at(12)], nowMs: 1 })
          expect(yield* cache.progress).toBeNull()
          yield* cache.advance({ applied: [], through: 10, nowMs: 2 })
          yield* cache.advance({ applied: [], through: 10, filling: "of somebody else", nowMs: 2 })
          expect(yield* cache.progress).toBeNull()
          const filling = yield* cache.beginFilling
          expect(yield* cache.beginFilling).toBe(filling)
          yield* cache.advance({ applied: [], through: 10, filling, currentAtMs: 500, nowMs: 2 })
          expect(yield* cache.progress).toEqual({ position: 10, asOfMs: 500, movedAtMs: 2, aheadFrom: 12 })
          yield* cache.advance({ applied: [at(14), at(11)], nowMs: 3 })
          expect(yield* cache.progress).toEqual({ position: 12, asOfMs: 1012, movedAtMs: 3, aheadFrom: 14 })
          yield* cache.advance({ applied: [at(5), at(14)], currentAtMs: 9000, nowMs: 4 })
          expect(yield* cache.progress).toEqual({ position: 12, asOfMs: 9000, movedAtMs: 3, aheadFrom: 14 })
          yield* cache.advance({ applied: [], through: 13, nowMs: 5 })
          expect(yield* cache.progress).toEqual({ position: 14, asOfMs: 9000, movedAtMs: 5, aheadFrom: null })
        })
      )
    })
  )
