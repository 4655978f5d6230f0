// Files come, are released, rejected and forgotten while sweeps run, in any order of their single steps: content that a file needs is there
// whenever somebody looks, and content that nobody needs goes in the end.
import { describe, expect, it } from "@effect/vitest"
import type { Sha256 } from "@holdfast/contracts/Ids"
import { Health } from "@holdfast/resilience/Health"
import { Storage } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Duration, Effect, Layer, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Released } from "../src/BlobStore.ts"
import { layerReleased } from "../src/BlobStoreDisk.ts"
import { layerReleased as layerReleasedS3 } from "../src/BlobStoreS3.ts"
import { Shelf, sweepUnneeded } from "../src/Unneeded.ts"
import { sha256Of, text } from "./BlobStoreContract.ts"
import { DiskModel } from "./DiskModel.ts"
import { startS3Server } from "./S3Server.ts"

const contents = ["one", "two", "three"].map((name) => text(`content ${name}`))
const keys = contents.map(sha256Of)

const below = (max: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: max - 1 }))

/** A file with one of the contents, how often it is sent through again, and whether it is rejected in the end. */
const FileStory = Schema.Struct({ content: below(contents.length), again: below(3), isRejected: Schema.Boolean })
const Plan = Schema.Struct({
  seed: below(1_000_000),
  files: Schema.Array(FileStory).check(Schema.isMinLength(1), Schema.isMaxLength(6)),
  sweeps: below(8)
})
type Plan = typeof Plan.Type

/** Small numbers that follow from the seed (mulberry32). */
const chance = (seed: number) => {
  let state = seed
  return (max: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % max
  }
}

/** Lets the others go first, so many times: mostly a few, now and then long enough for all that another does. */
const pauseOf = (choose: (max: number) => number) => async () => {
  for (let turns = choose(4) === 0 ? choose(30) : choose(3); turns > 0; turns--) await new Promise(setImmediate)
}

interface Stores {
  readonly released: Released["Service"]
  readonly shelf: Shelf["Service"]
}

/** Younger than nothing: everything is old enough to go. */
const atOnce = Duration.seconds(-10)

const live = Effect.fnUntraced(function* ({ released, shelf }: Stores, plan: Plan) {
  const choose = chance(plan.seed)
  const pause = Effect.promise(pauseOf(choose))
  const log = new Map<number, Sha256>()
  const needed = (asked: ReadonlyArray<Sha256>) =>
    Effect.gen(function* () {
      yield* pause
      const found = new Set(asked.filter((key) => [...log.values()].includes(key)))
      yield* pause
      return found
    })
  const isThere = (key: Sha256) => Effect.map(Stream.runCollect(released.read(key)), () => true)
  const file = Effect.fnUntraced(function* (story: typeof FileStory.Type, id: number) {
    const [bytes, key] = [contents[story.content], keys[story.content]]
    if (bytes === undefined || key === undefined) return
    for (let pauses = choose(12); pauses > 0; pauses--) yield* pause
    // Registered in the log before anything of it is put.
    log.set(id, key)
    for (let round = 0; round <= story.again; round++) {
      let isPut = false
      while (!isPut) {
        yield* pause
        const put = released.put(key, Stream.make(bytes))
        isPut = yield* put.pipe(
          Effect.as(true),
          Effect.catchIf(isRefused, () => Effect.succeed(false))
        )
      }
      for (let look = 0; look < 3; look++) {
        yield* pause
        expect(yield* isThere(key)).toBe(true)
      }
    }
    if (story.isRejected) log.delete(id)
  })
  const sweeper = Effect.gen(function* () {
    for (let count = 0; count < plan.sweeps; count++) {
      yield* pause
      const key = keys[choose(keys.length)] ?? ""
      yield* sweepUnneeded(shelf, needed, key.slice(0, 2), atOnce)
    }
  })
  // What files that are forgotten left behind: the next one to come must not lose it to a sweep.
  yield* Effect.forEach(contents, (bytes) => released.put(sha256Of(bytes), Stream.make(bytes)))
  yield* Effect.all([...plan.files.map(file), sweeper, sweeper], { concurrency: "unbounded" })
  for (const key of log.values()) expect(yield* isThere(key)).toBe(true)
  for (const key of keys) yield* sweepUnneeded(shelf, needed, key.slice(0, 2), atOnce)
  for (const key of log.values()) expect(yield* isThere(key)).toBe(true)
  log.clear()
  for (const key of keys) yield* sweepUnneeded(shelf, needed, key.slice(0, 2), atOnce)
  const left = yield* Effect.forEach(keys, (key) => Stream.runCollect(shelf.list(key.slice(0, 2))))
  expect(left.flat(2)).toEqual([])
})

const isRefused = (error: unknown): error is Unavailable => error instanceof Unavailable && error.reason === "refused"

const storesOf = <E>(layer: Layer.Layer<Released | Shelf, E, Health>) =>
  Effect.map(
    Layer.build(Layer.provide(layer, Health.layer)),
    (built): Stores => ({
      released: Context.get(built, Released),
      shelf: Context.get(built, Shelf)
    })
  )

const onModel = Effect.fnUntraced(function* (seed: number) {
  const disk = new DiskModel()
  return yield* storesOf(
    layerReleased({ root: "/released", freeBytesMin: 0, files: disk.files(pauseOf(chance(seed + 1))) })
  )
})

describe("content", () => {
  it.effect.prop(
    "on a disk is never removed while a file needs it, and goes when none does",
    [Plan],
    ([plan]) => Effect.scoped(Effect.flatMap(onModel(plan.seed), (stores) => live(stores, plan))),
    { arbitrary: { runs: 40 } }
  )

  it.live("in object storage is never removed while a file needs it, and goes when none does", () =>
    Effect.gen(function* () {
      const { options } = yield* startS3Server()
      for (let seed = 0; seed < 2; seed++) {
        const stores = yield* storesOf(layerReleasedS3({ ...options, prefix: `${seed}/` }))
        const files = [0, 1, 2, 0, 1].map((content, id) => ({ content, again: 1, isRejected: id % 2 === 0 }))
        yield* live(stores, { seed, files, sweeps: 4 })
      }
    })
  )
})

describe("a removal", () => {
  const key = sha256Of(text("content"))
  const none = Effect.succeed<ReadonlySet<Sha256>>(new Set())
  const shelf = Effect.gen(function* () {
    const stores = yield* onModel(1)
    yield* stores.released.put(key, Stream.make(text("content")))
    return stores
  })

  it.effect("asks once more after it has announced itself", () =>
    Effect.gen(function* () {
      const { released, shelf: of } = yield* shelf
      let asked = 0
      const needed = () => Effect.sync(() => (asked++ === 0 ? new Set<Sha256>() : new Set([key])))
      expect(yield* sweepUnneeded(of, needed, key.slice(0, 2), atOnce)).toBe(0)
      expect(yield* released.sizeBytes(key)).toBe(7)
      expect(asked).toBe(2)
    })
  )

  it.effect("that takes too long gives up", () =>
    Effect.gen(function* () {
      const { released, shelf: of } = yield* shelf
      let asked = 0
      const needed = () => Effect.andThen(asked++ === 0 ? Effect.void : TestClock.adjust(Storage.removalDeadline), none)
      expect(yield* sweepUnneeded(of, needed, key.slice(0, 2), atOnce)).toBe(0)
      expect(yield* released.sizeBytes(key)).toBe(7)
    })
  )

  it.effect("takes its announcement back when the log is away", () =>
    Effect.gen(function* () {
      const { released, shelf: of } = yield* shelf
      const away = new Unavailable({ dependency: "database", reason: "unreachable", retryAfterMs: 1, detail: "away" })
      let asked = 0
      const needed = () => (asked++ === 0 ? none : Effect.fail(away))
      expect(yield* Effect.flip(sweepUnneeded(of, needed, key.slice(0, 2), atOnce))).toEqual(away)
      yield* released.put(key, Stream.make(text("content")))
    })
  )

  it.effect("whose end is not known stays announced until it is certainly over", () =>
    Effect.gen(function* () {
      const disk = new DiskModel()
      const { released, shelf: of } = yield* storesOf(
        layerReleased({ root: "/released", freeBytesMin: 0, files: disk.files(async () => {}) })
      )
      yield* released.put(key, Stream.make(text("content")))
      const unknown = new Unavailable({ dependency: "storage", reason: "timeout", retryAfterMs: 1, detail: "late" })
      const failing = { ...of, remove: () => Effect.fail(unknown) }
      expect(yield* Effect.flip(sweepUnneeded(failing, () => none, key.slice(0, 2), atOnce))).toEqual(unknown)
      const put = released.put(key, Stream.make(text("content")))
      expect(yield* Effect.flip(put)).toMatchObject({ reason: "refused", detail: "this content is just being removed" })
      expect(yield* of.clean).toBe(0)
      disk.nowMs += Duration.toMillis(Storage.markLifetime)
      expect(yield* of.clean).toBe(1)
      yield* put
    })
  )
})
