// What the desk's screens read, each with its fallback: the read database, then the cached read models, then `ReadUnavailable`. An answer
// says which of the two it came from, how old it is and how far in the log it stands. A cached document that is missing is not
// taken for one that does not exist: the cache holds a part of the desk. A read database that comes back stands where it stood when it
// went: until it has caught up with what the cache has shown meanwhile, the cache goes on answering, so that no reader is taken back.
import { Cache } from "@holdfast/cache/Cache"
import { type Read, ReadTables } from "@holdfast/database/ReadTables"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Effect, Layer, Schema } from "effect"
import * as CachedReads from "./CachedReads.ts"

/** Neither the read database nor the cache could answer. */
export class ReadUnavailable extends Schema.TaggedError<ReadUnavailable>()("ReadUnavailable", {
  retryAfterMs: Schema.Natural
}) {}

export interface Answer<A> extends Read<A> {
  readonly source: "live" | "cached"
}

type Tables = ReadTables["Service"]
type Asked<K extends keyof Tables> = Parameters<Tables[K]>
type Told<K extends keyof Tables> = Effect.Success<ReturnType<Tables[K]>>["value"]

/** The questions of the read database, answered whatever is away. */
export type ReadsShape = {
  readonly [K in keyof Tables]: (...asked: Asked<K>) => Effect.Effect<Answer<Told<K>>, ReadUnavailable>
}

export class Reads extends Context.Service<Reads, ReadsShape>()("@holdfast/queries/Reads") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const tables = yield* ReadTables
      const cached = CachedReads.make(yield* Cache)
      const either = makeEither()
      return Reads.of({
        tickets: (request) => either(tables.tickets(request), cached.tickets(request)),
        ticketsByIds: (ids) => either(tables.ticketsByIds(ids), cached.ticketsByIds(ids)),
        conversations: (requests) => either(tables.conversations(requests), cached.conversations(requests)),
        files: (ids) => either(tables.files(ids), cached.files(ids)),
        ticketsShowingFile: (fileId, requesterId) =>
          either(tables.ticketsShowingFile(fileId, requesterId), cached.ticketsShowingFile(fileId, requesterId)),
        search: (request) => either(tables.search(request), cached.search(request)),
        volume: (fromMs, hours) => either(tables.volume(fromMs, hours), cached.volume(fromMs, hours)),
        notifications: (request) => either(tables.notifications(request), cached.notifications(request))
      })
    })
  )
}

const makeEither = () => {
  /** The furthest position that the cache has shown while the read database was away. */
  let shown = 0
  return <A>(
    live: Effect.Effect<Read<A>, Unavailable>,
    cached: Effect.Effect<Read<A>, Unavailable>
  ): Effect.Effect<Answer<A>, ReadUnavailable> =>
    Effect.matchEffect(live, {
      onSuccess: (read) => (read.position < shown ? furtherOf(read, cached) : Effect.succeed(fromLive(read))),
      onFailure: ({ retryAfterMs }) =>
        Effect.mapBoth(cached, {
          onSuccess: (read) => {
            shown = Math.max(shown, read.position)
            return fromCached(read)
          },
          onFailure: () => new ReadUnavailable({ retryAfterMs })
        })
    })
}

const furtherOf = <A>(live: Read<A>, cached: Effect.Effect<Read<A>, Unavailable>): Effect.Effect<Answer<A>> =>
  Effect.match(cached, {
    onSuccess: (read) => (read.position > live.position ? fromCached(read) : fromLive(live)),
    onFailure: () => fromLive(live)
  })

const fromLive = <A>(read: Read<A>): Answer<A> => ({ ...read, source: "live" })
const fromCached = <A>(read: Read<A>): Answer<A> => ({ ...read, source: "cached" })
