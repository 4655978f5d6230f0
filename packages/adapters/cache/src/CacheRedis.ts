// The cached read models in Redis 7 or later. Nothing is queued while the server is away: a call then fails at once, through the guard,
// and the connection is taken up again in the background. The layer builds without a server.
import { randomUUID } from "node:crypto"
import { type Failure, makeGuard } from "@holdfast/resilience/Guard"
import { Breaker, Cache as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Duration, Effect, Layer, Redacted } from "effect"
import { Redis, ReplyError } from "ioredis"
import { Cache, type CacheDocument, type CacheEntry, type CacheKey, kindOf, type ListPage } from "./Cache.ts"
import {
  advanceScript,
  beginFillingScript,
  pageScript,
  progressScript,
  putScript,
  type RedisScript,
  removeScript,
  searchScript
} from "./RedisScripts.ts"

export interface RedisOptions {
  readonly url: Redacted.Redacted<string>
  /** Several desks may share a server. */
  readonly keyPrefix?: string
}

export const layer = (options: RedisOptions) =>
  Layer.effect(
    Cache,
    Effect.gen(function* () {
      const client = yield* connect(options.url)
      const guard = yield* makeGuard({
        dependency: "cache",
        deadline: Limits.readDeadline,
        concurrencyMax: Limits.callsUnderWayMax,
        acquireDeadline: Limits.acquireDeadline,
        probe: Effect.tryPromise({ try: () => client.ping(), catch: (error) => new RedisFailure(error) }),
        watch: { quietMax: Breaker.quietMax },
        toFailure
      })
      // A refusal by a server that is up is a broken script, not an outage: it is a defect.
      const send = <A>(call: () => Promise<A>, limit: Duration.Duration = Limits.readDeadline) =>
        guard
          .call(Effect.tryPromise({ try: call, catch: (error) => new RedisFailure(error) }), { deadline: limit })
          .pipe(Effect.catchIf((error) => error instanceof RedisFailure, Effect.die))
      return make(client, `${options.keyPrefix ?? "holdfast"}:`, send)
    })
  )

type Send = <A>(call: () => Promise<A>, limit?: Duration.Duration) => Effect.Effect<A, Unavailable>

const make = (client: Redis, prefix: string, send: Send): Cache["Service"] => {
  const run = (script: RedisScript, ...args: ReadonlyArray<string | number>) =>
    evaluate(client, script, [prefix, ...args])
  return {
    getMany: (keys) => (keys.length === 0 ? Effect.succeed([]) : send(() => getMany(client, prefix, keys))),
    put: (entries) =>
      send(
        () => Promise.all(entries.map((entry) => run(putScript, ...putArguments(entry)))),
        Limits.writeDeadline
      ).pipe(Effect.asVoid),
    remove: (keys) =>
      send(() => Promise.all(keys.map((key) => run(removeScript, kindOf(key), key))), Limits.writeDeadline).pipe(
        Effect.asVoid
      ),
    page: (list, first, after) =>
      send(() => run(pageScript, list, first, after?.score ?? "", after?.key ?? "")).pipe(Effect.map(toPage)),
    search: ({ countMax, internal, words }) =>
      words.length === 0
        ? Effect.succeed([])
        : send(() => run(searchScript, JSON.stringify(words), internal ? "1" : "0", countMax)).pipe(
            Effect.map((reply) => toDocuments(strings(reply)))
          ),
    progress: send(() => run(progressScript)).pipe(Effect.map(toProgress)),
    beginFilling: Effect.suspend(() => send(() => run(beginFillingScript, randomUUID()), Limits.writeDeadline)).pipe(
      Effect.map(String)
    ),
    advance: ({ applied, currentAtMs, filling, nowMs, through }) =>
      send(
        () =>
          run(
            advanceScript,
            through ?? "",
            currentAtMs ?? "",
            nowMs,
            Limits.aheadMax,
            filling ?? "",
            ...applied.flatMap((one) => [one.position, one.occurredAtMs])
          ),
        Limits.writeDeadline
      ).pipe(Effect.asVoid)
  }
}

const connect = (url: Redacted.Redacted<string>) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new Redis(Redacted.value(url), {
        lazyConnect: true,
        enableOfflineQueue: false,
        autoResendUnfulfilledCommands: false,
        maxRetriesPerRequest: 0,
        connectTimeout: Duration.toMillis(Limits.connectDeadline),
        // Without it a connection whose other end vanished would be waited for as long as the system sends again: minutes.
        socketTimeout: Duration.toMillis(Limits.silenceMax),
        // The server that was connected to is a replica now: the address may lead to the one that took its place.
        reconnectOnError: (error) => error.message.startsWith("READONLY"),
        retryStrategy: (attempt) => reconnectMs(attempt, Math.random())
      })
      // The guard reports each failed call; without a listener the process would end.
      client.on("error", () => undefined)
      await client.connect().catch(() => undefined)
      return client
    }),
    (client) => Effect.sync(() => client.disconnect())
  )

/** Half of what grows up to the bound, and as much again by chance, so that not all processes come at once. */
const reconnectMs = (attempt: number, chance: number) =>
  (Math.min(attempt * 100, Duration.toMillis(Limits.reconnectDelayMax)) / 2) * (1 + chance)

const isReply = (error: unknown): error is Error => error instanceof Error && error instanceof ReplyError

class RedisFailure extends Error {
  readonly refused: boolean
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
    this.refused = isReply(cause)
  }
}

/** Only a script of ours that is wrong is answered with a plain error. All else is the server's state, its settings, or keys that another program has. */
const isOurs = /^ERR (?!max number of clients)/

const toFailure = (error: unknown): Failure | null => {
  const failure = error instanceof RedisFailure ? error : new RedisFailure(error)
  if (!failure.refused) return { reason: "unreachable", detail: failure.message }
  return isOurs.test(failure.message) ? null : { reason: "refused", detail: failure.message }
}

/** By hash, and by text where the server does not know it: after a restart, or on first use. */
const evaluate = async (client: Redis, script: RedisScript, args: ReadonlyArray<string | number>): Promise<unknown> => {
  try {
    return await client.evalsha(script.sha1, 0, ...args)
  } catch (error) {
    if (isReply(error) && error.message.startsWith("NOSCRIPT")) return client.eval(script.text, 0, ...args)
    throw error
  }
}

const getMany = async (client: Redis, prefix: string, keys: ReadonlyArray<CacheKey>) => {
  const held = await Promise.all(keys.map((key) => client.hmget(`${prefix}doc:${key}`, "v", "b")))
  return held.map(([version, body], index): CacheDocument | null => {
    const key = keys[index]
    return key === undefined || version == null || body == null ? null : { key, version: Number(version), body }
  })
}

const putArguments = (entry: CacheEntry): ReadonlyArray<string | number> => [
  kindOf(entry.key),
  entry.key,
  entry.version,
  entry.body,
  entry.score,
  JSON.stringify(entry.lists.map(({ list }) => list)),
  JSON.stringify(entry.lists.map(({ score }) => score)),
  JSON.stringify([
    ...entry.words.public.slice(0, Limits.wordsPerDocumentMax).map((word) => `p:${word}`),
    ...entry.words.internal.slice(0, Limits.wordsPerDocumentMax).map((word) => `i:${word}`)
  ]),
  Limits.documentsPerKindMax,
  Limits.listMax,
  Limits.documentsPerWordMax
]

const strings = (reply: unknown): ReadonlyArray<string | null> =>
  Array.isArray(reply) ? reply.map((one) => (typeof one === "string" ? one : null)) : []

const isKey = (text: string | null | undefined): text is CacheKey => text?.includes("/") ?? false

/** Three strings each; one whose document has gone meanwhile is left out. */
const toDocuments = (flat: ReadonlyArray<string | null>): ReadonlyArray<CacheDocument> => {
  const documents: Array<CacheDocument> = []
  for (let i = 0; i + 2 < flat.length; i += 3) {
    const [key, version, body] = [flat[i], flat[i + 1], flat[i + 2]]
    if (isKey(key) && version != null && body != null) documents.push({ key, version: Number(version), body })
  }
  return documents
}

const toPage = (reply: unknown): ListPage => {
  const [count, more, ...documents] = strings(reply)
  return { documents: toDocuments(documents), totalCount: Number(count), hasNextPage: more === "1" }
}

const toProgress = (reply: unknown) => {
  const [position, asOf, movedAt, ahead] = strings(reply)
  if (position == null) return null
  return {
    position: Number(position),
    asOfMs: Number(asOf),
    movedAtMs: Number(movedAt),
    aheadFrom: ahead == null ? null : Number(ahead)
  }
}
