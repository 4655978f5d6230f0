// The cached read models as a model in memory: documents with versions, the lists and words that lead to them, and how far they have come.
import {
  type CacheDocument,
  type CacheEntry,
  type CacheKey,
  kindOf,
  type ListCursor,
  type ListPage,
  type WordSearch
} from "@holdfast/cache/Cache"
import { Cache as Limits } from "@holdfast/resilience/Limits"
import { type Advance, type Applied, advance, type Progress, type Reached } from "@holdfast/resilience/Progress"

export class CacheModel {
  readonly documents = new Map<CacheKey, CacheEntry>()
  #reached: Reached | null = null
  #movedAtMs = 0
  #ahead: ReadonlyArray<Applied> = []
  #filling: string | null = null
  #fillings = 0

  flush(): void {
    this.documents.clear()
    this.#filling = null
    this.#reached = null
    this.#ahead = []
  }

  get(key: CacheKey): CacheDocument | null {
    const held = this.documents.get(key)
    return held === undefined ? null : documentOf(held)
  }

  put(entry: CacheEntry): void {
    if ((this.documents.get(entry.key)?.version ?? -1) >= entry.version) return
    this.documents.set(entry.key, entry)
    if (this.documents.size <= Limits.documentsPerKindMax) return
    const kind = [...this.documents.values()].filter(({ key }) => kindOf(key) === kindOf(entry.key))
    if (kind.length <= Limits.documentsPerKindMax) return
    const oldest = kind.reduce((least, one) => (one.score < least.score ? one : least))
    this.documents.delete(oldest.key)
  }

  remove(keys: ReadonlyArray<CacheKey>): void {
    for (const key of keys) this.documents.delete(key)
  }

  page(list: string, first: number, after: ListCursor | null): ListPage {
    const placed = [...this.documents.values()].flatMap((entry) =>
      entry.lists.filter((place) => place.list === list).map(({ score }) => ({ entry, score }))
    )
    const below = placed
      .sort((a, b) => compare(b.score, b.entry.key, a.score, a.entry.key))
      .slice(0, Limits.listMax)
      .filter(({ entry, score }) => after === null || compare(score, entry.key, after.score, after.key) < 0)
    return {
      documents: below.slice(0, first).map(({ entry }) => documentOf(entry)),
      totalCount: placed.length,
      hasNextPage: below.length > first
    }
  }

  search({ countMax, internal, words }: WordSearch): ReadonlyArray<CacheDocument> {
    if (words.length === 0) return []
    return [...this.documents.values()]
      .filter(({ words: own }) =>
        words.every((word) => own.public.includes(word) || (internal && own.internal.includes(word)))
      )
      .sort((a, b) => compare(b.score, b.key, a.score, a.key))
      .slice(0, countMax)
      .map(documentOf)
  }

  get progress(): Progress | null {
    if (this.#reached === null) return null
    return { ...this.#reached, movedAtMs: this.#movedAtMs, aheadFrom: this.#ahead[0]?.position ?? null }
  }

  beginFilling(): string {
    this.#filling ??= `filling ${++this.#fillings}`
    return this.#filling
  }

  advance(change: Advance): void {
    const { applied, filling, nowMs } = change
    const isFilled = this.#reached !== null || filling === this.#filling
    const after = advance({ reached: this.#reached, ahead: this.#ahead }, isFilled ? change : { applied, nowMs })
    if (after.reached !== null) this.#filling = null
    if (after.reached !== null && after.reached.position !== this.#reached?.position) this.#movedAtMs = change.nowMs
    this.#reached = after.reached
    this.#ahead = after.ahead
  }
}

const documentOf = ({ body, key, version }: CacheEntry): CacheDocument => ({ key, version, body })

const compare = (score: number, key: string, otherScore: number, otherKey: string): number => {
  if (score !== otherScore) return score - otherScore
  return key < otherKey ? -1 : Number(key > otherKey)
}
