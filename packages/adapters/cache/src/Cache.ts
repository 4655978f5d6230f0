// The port to the cached read models: documents by key with a version, lists of documents in order, a word index, and how far all of
// it has come in the log. The writer says with each document which lists and words lead to it, and one put changes all of them
// together, so that no list ever names what a document is not. Everything is bounded by `Limits.Cache`. What is cached may be lost
// at any time; it is made again from the log or the read database. Two layers: Redis, and an SQLite file (the embedded default).
import type { Advance, Progress } from "@holdfast/resilience/Progress"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect } from "effect"

/** `<kind>/<id>`; the bound on documents is per kind. */
export type CacheKey = `${string}/${string}`

export interface CacheDocument {
  readonly key: CacheKey
  readonly version: number
  /** JSON. */
  readonly body: string
}

export interface CacheEntry extends CacheDocument {
  /** Newer is greater; the lowest make room when their kind is full. Milliseconds since 1970. */
  readonly score: number
  /** The lists that this document is in, each with its place there: the greatest score comes first, then the greatest key. */
  readonly lists: ReadonlyArray<{ readonly list: string; readonly score: number }>
  /** Words that lead to it, in lower case letters and digits, for everyone who may read it and for staff alone. */
  readonly words: { readonly public: ReadonlyArray<string>; readonly internal: ReadonlyArray<string> }
}

export interface ListCursor {
  readonly score: number
  readonly key: CacheKey
}

export interface ListPage {
  /** In the order of the list. */
  readonly documents: ReadonlyArray<CacheDocument>
  /** Documents in the list, including those beyond `Limits.Cache.listMax`. */
  readonly totalCount: number
  /** There is more within the list's bound. */
  readonly hasNextPage: boolean
}

export interface WordSearch {
  /** Every one must be in the document. */
  readonly words: ReadonlyArray<string>
  /** Also look at the words that only staff may find by. */
  readonly internal: boolean
  readonly countMax: number
}

export class Cache extends Context.Service<
  Cache,
  {
    /** In the order of the keys; null where nothing is held. At most `Limits.Cache.batchMax`. */
    getMany(keys: ReadonlyArray<CacheKey>): Effect.Effect<ReadonlyArray<CacheDocument | null>, Unavailable>
    /** Keeps each entry that is newer than what is held under its key, with its lists and words; an older or equal one changes nothing. */
    put(entries: ReadonlyArray<CacheEntry>): Effect.Effect<void, Unavailable>
    /** With its places in lists and its words. */
    remove(keys: ReadonlyArray<CacheKey>): Effect.Effect<void, Unavailable>
    page(list: string, first: number, after: ListCursor | null): Effect.Effect<ListPage, Unavailable>
    /** Newest first. */
    search(search: WordSearch): Effect.Effect<ReadonlyArray<CacheDocument>, Unavailable>
    /** Null: empty, so that a missing document means nothing. */
    readonly progress: Effect.Effect<Progress | null, Unavailable>
    /** Of an empty cache: an `advance` that carries this says how far it was filled, and says nothing if anything was lost meanwhile. */
    readonly beginFilling: Effect.Effect<string, Unavailable>
    advance(change: Advance): Effect.Effect<void, Unavailable>
  }
>()("@holdfast/cache/Cache") {}

export const kindOf = (key: CacheKey): string => key.slice(0, key.indexOf("/"))
