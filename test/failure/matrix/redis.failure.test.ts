// A Redis that loses, evicts, refuses and forgets: what is read afterwards claims nothing that is not so, and it heals by itself.
import { assert, layer as describeLayer } from "@effect/vitest"
import { Cache, type CacheEntry } from "@holdfast/cache/Cache"
import * as CacheRedis from "@holdfast/cache/CacheRedis"
import { Health } from "@holdfast/resilience/Health"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { startStack } from "@holdfast/scripts/Stack"
import { Context, Duration, Effect, Layer, Redacted } from "effect"
import { Redis } from "ioredis"

/** A server of the test's own, and an operator's connection to it. */
class Server extends Context.Service<Server, { readonly url: string; readonly redis: Redis }>()("test/Server") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function* () {
      const stack = yield* Effect.acquireRelease(
        Effect.promise(() => startStack({ only: ["redis"] })),
        (started) => Effect.promise(() => started.stop())
      )
      const url = stack.environment.HOLDFAST_TEST_REDIS_URL ?? ""
      const redis = yield* Effect.acquireRelease(
        Effect.sync(() => new Redis(url)),
        (client) => Effect.sync(() => client.disconnect())
      )
      return { url, redis }
    })
  )
}

/** On an emptied server, a cache that was filled up to position 10. */
const filled = Effect.gen(function* () {
  const { redis, url } = yield* Server
  yield* told(() => redis.call("REPLICAOF", "NO", "ONE"))
  yield* told(() => redis.config("SET", "maxmemory", "0"))
  yield* told(() => redis.config("SET", "maxmemory-policy", "noeviction"))
  yield* told(() => redis.flushall())
  const context = yield* Layer.build(
    Layer.fresh(CacheRedis.layer({ url: Redacted.make(url) })).pipe(Layer.provide(Health.layer))
  )
  const cache = Context.get(context, Cache)
  yield* cache.put([entry(1)])
  yield* fill(cache, 10, 5)
  assert.strictEqual((yield* cache.progress)?.position, 10)
  return { cache, redis }
})

const fill = Effect.fnUntraced(function* (cache: Cache["Service"], through: number, nowMs: number) {
  const filling = yield* cache.beginFilling
  yield* cache.advance({ applied: [], through, filling, currentAtMs: nowMs, nowMs })
})

const told = (call: () => Promise<unknown>) => Effect.promise(call)

const entry = (number: number): CacheEntry => ({
  key: `ticket/${number}`,
  version: 1,
  body: "x".repeat(10_000),
  score: number,
  lists: [{ list: "staff/all", score: number }],
  words: { public: [], internal: [] }
})

describeLayer(Server.layer, { excludeTestServices: true, timeout: Duration.minutes(1) })("a Redis", (it) => {
  it.effect("that was flushed is empty, also for a writer that had filled it", () =>
    Effect.gen(function* () {
      const { cache, redis } = yield* filled
      yield* told(() => redis.flushall())
      yield* cache.put([entry(2)])
      yield* cache.advance({ applied: [{ position: 11, occurredAtMs: 1 }], nowMs: 6 })
      assert.isNull(yield* cache.progress)
    })
  )

  it.effect("that was flushed while it was filled makes no claim until it is filled again", () =>
    Effect.gen(function* () {
      const { cache, redis } = yield* filled
      yield* told(() => redis.flushall())
      const filling = yield* cache.beginFilling
      yield* cache.put([entry(1)])
      yield* told(() => redis.flushall())
      const advance = cache.advance({ applied: [], through: 10, filling, nowMs: 6 })
      yield* advance
      assert.isNull(yield* cache.progress)
      // Nor does it count for the filling that began afterwards, nor as a gap that is passed.
      assert.notStrictEqual(yield* cache.beginFilling, filling)
      yield* advance
      yield* cache.advance({ applied: [], through: 10, nowMs: 6 })
      assert.isNull(yield* cache.progress)
      yield* fill(cache, 11, 7)
      assert.strictEqual((yield* cache.progress)?.position, 11)
    })
  )

  it.effect("that lost only the key that says how far it has come is empty", () =>
    Effect.gen(function* () {
      const { cache, redis } = yield* filled
      yield* told(() => redis.del("holdfast:meta"))
      assert.isNull(yield* cache.progress)
    })
  )

  it.effect("that evicted keys counts as empty until it is filled again without losing any", () =>
    Effect.gen(function* () {
      const { cache, redis } = yield* filled
      yield* told(() => redis.config("SET", "maxmemory-policy", "allkeys-lru"))
      // Another policy than when it was filled: from now on keys may go.
      assert.isNull(yield* cache.progress)
      yield* fill(cache, 20, 7)
      assert.strictEqual((yield* cache.progress)?.position, 20)
      const used = Number(/used_memory:(\d+)/.exec(yield* Effect.promise(() => redis.info("memory")))?.[1])
      yield* told(() => redis.config("SET", "maxmemory", String(used + 200_000)))
      yield* Effect.forEach(Array.from({ length: 60 }), (_, number) => cache.put([entry(number + 2)]), {
        discard: true
      })
      assert.isNull(yield* cache.progress)
      // What is applied meanwhile makes no claim; what was evicted while it was filled makes it empty once more.
      yield* cache.advance({ applied: [{ position: 21, occurredAtMs: 1 }], nowMs: 8 })
      assert.isNull(yield* cache.progress)
      const filling = yield* cache.beginFilling
      yield* Effect.forEach(Array.from({ length: 60 }), (_, number) => cache.put([entry(number + 62)]), {
        discard: true
      })
      yield* cache.advance({ applied: [], through: 21, filling, currentAtMs: 9, nowMs: 9 })
      assert.isNull(yield* cache.progress)
      yield* told(() => redis.config("SET", "maxmemory", "0"))
      yield* fill(cache, 21, 9)
      assert.strictEqual((yield* cache.progress)?.position, 21)
    })
  )

  it.effect("that is full refuses what is new and goes on answering", () =>
    Effect.gen(function* () {
      const { cache, redis } = yield* filled
      yield* told(() => redis.config("SET", "maxmemory", "1"))
      const refusal = yield* Effect.flip(cache.put([entry(2)]))
      assert.strictEqual(refusal.reason, "refused")
      assert.strictEqual((yield* cache.page("staff/all", 5, null)).documents.length, 1)
      assert.strictEqual((yield* cache.progress)?.position, 10)
      yield* told(() => redis.config("SET", "maxmemory", "0"))
      yield* cache.put([entry(2)])
      assert.strictEqual((yield* cache.page("staff/all", 5, null)).documents.length, 2)
    })
  )

  it.effect("that became a replica refuses to be written, and is written again once it leads", () =>
    Effect.gen(function* () {
      const { cache, redis } = yield* filled
      yield* told(() => redis.call("REPLICAOF", "127.0.0.1", "1"))
      const refusal = yield* Effect.flip(cache.put([entry(2)]))
      assert.strictEqual(refusal.reason, "refused")
      assert.match(refusal.detail, /READONLY/)
      yield* told(() => redis.call("REPLICAOF", "NO", "ONE"))
      // It connects anew, in case the address leads elsewhere by now.
      yield* Effect.eventually(cache.put([entry(2)]))
      assert.strictEqual((yield* cache.page("staff/all", 5, null)).documents.length, 2)
    })
  )

  it.effect("in which another program has the keys is unavailable, not a mistake of the desk", () =>
    Effect.gen(function* () {
      const { cache, redis } = yield* filled
      yield* told(() => redis.set("holdfast:meta", "mine"))
      const refusal = yield* Effect.flip(cache.progress)
      assert.instanceOf(refusal, Unavailable)
      assert.match(refusal.detail, /WRONGTYPE/)
    })
  )
})
