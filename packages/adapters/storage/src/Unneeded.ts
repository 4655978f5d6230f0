// Removes released content that no file needs, without a lock against files that arrive meanwhile. A removal announces itself by a mark, then
// asks the log once more, and only then removes. A put looks for marks first and is refused while there is one. The file that puts is in
// the log before it puts; so either the sweep finds it there, or the put finds the mark, or the removal is over before the put looks.
// Every sweep has marks of its own, so several may run; a mark left by one that died is cleared when its removal is certainly over.
import type { Sha256 } from "@holdfast/contracts/Ids"
import { Storage } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Clock, Context, Duration, Effect, Stream } from "effect"
import type { References } from "./BlobStore.ts"

export interface Shelved {
  readonly sha256: Sha256
  readonly sizeBytes: number
  /** Since it was last put, by the clock of whatever stores it. */
  readonly ageMs: number
}

/** The released store as its sweep sees it. */
export class Shelf extends Context.Service<
  Shelf,
  {
    /** All content whose hash begins with these two digits, page by page. */
    list(folder: string): Stream.Stream<ReadonlyArray<Shelved>, Unavailable>
    /** Announces a removal; what takes the announcement back. */
    mark(sha256: Sha256): Effect.Effect<Effect.Effect<void, Unavailable>, Unavailable>
    remove(sha256: Sha256): Effect.Effect<void, Unavailable>
    /** Removes what interrupted writes and removals left behind; how many. */
    readonly clean: Effect.Effect<number, Unavailable>
  }
>()("@holdfast/storage/Shelf") {}

type Needed = References["Service"]["released"]

/** One of 256 parts of the store; how many contents it removed. */
export const sweepUnneeded = Effect.fn("StorageSweep.unneeded")(function* (
  shelf: Shelf["Service"],
  needed: Needed,
  folder: string,
  lifetime: Duration.Duration = Storage.unneededLifetime
) {
  let count = 0
  yield* Stream.runForEach(shelf.list(folder), (page) =>
    Effect.gen(function* () {
      const old = page.filter(({ ageMs }) => ageMs >= Duration.toMillis(lifetime)).map(({ sha256 }) => sha256)
      const doomed = old.length === 0 ? [] : without(old, yield* needed(old))
      for (let start = 0; start < doomed.length; start += Storage.removalBatchMax) {
        count += yield* removeAll(shelf, needed, doomed.slice(start, start + Storage.removalBatchMax))
      }
    })
  )
  return count
})

/** However young. What came to be needed meanwhile stays. */
export const removeUnneeded = Effect.fn("StorageSweep.remove")(function* (
  shelf: Shelf["Service"],
  needed: Needed,
  keys: ReadonlyArray<Sha256>
) {
  const doomed = without(keys, yield* needed(keys))
  if (doomed.length === 0) return
  const startedAtMs = yield* Clock.currentTimeMillis
  yield* removeAll(shelf, needed, doomed)
  const tookMs = (yield* Clock.currentTimeMillis) - startedAtMs
  // Then it may have given up before the last one.
  if (tookMs >= Duration.toMillis(Storage.removalDeadline)) return yield* tooSlow
})

const tooSlow = new Unavailable({
  dependency: "storage",
  reason: "timeout",
  retryAfterMs: Duration.toMillis(Storage.retryDelay),
  detail: "a removal takes too long"
})

const removeAll = (shelf: Shelf["Service"], needed: Needed, keys: ReadonlyArray<Sha256>) =>
  Effect.acquireUseRelease(
    Effect.flatMap(Clock.currentTimeMillis, (markedAtMs) =>
      Effect.map(markAll(shelf, keys), (marks) => ({ marks, markedAtMs }))
    ),
    ({ markedAtMs, marks }) =>
      Effect.gen(function* () {
        if (marks.failure !== null) return yield* marks.failure
        const unneeded = without(keys, yield* needed(keys))
        let count = 0
        for (const sha256 of unneeded) {
          const tookMs = (yield* Clock.currentTimeMillis) - markedAtMs
          if (tookMs >= Duration.toMillis(Storage.removalDeadline)) break
          yield* Effect.tapError(shelf.remove(sha256), ({ mayHaveHappened }) =>
            // It may still be on its way: its mark stays until that is certainly over.
            Effect.sync(() => mayHaveHappened && marks.taken.delete(sha256))
          )
          count++
        }
        return count
      }),
    ({ marks }) =>
      Effect.forEach(marks.taken.values(), (unmark) => Effect.ignore(unmark, { log: true }), { discard: true })
  )

/** As many as can be marked; those must be taken back also when one fails. */
const markAll = Effect.fnUntraced(function* (shelf: Shelf["Service"], keys: ReadonlyArray<Sha256>) {
  const taken = new Map<Sha256, Effect.Effect<void, Unavailable>>()
  let failure: Unavailable | null = null
  for (const sha256 of keys) {
    const marked = yield* Effect.result(shelf.mark(sha256))
    if (marked._tag === "Failure") {
      failure = marked.failure
      break
    }
    taken.set(sha256, marked.success)
  }
  return { taken, failure }
})

const without = (keys: ReadonlyArray<Sha256>, some: ReadonlySet<Sha256>) => keys.filter((key) => !some.has(key))

/** What a put answers meanwhile. */
export const beingRemoved = (dependency: "storage" | "object-storage") =>
  new Unavailable({
    dependency,
    reason: "refused",
    retryAfterMs: Duration.toMillis(Storage.removalDeadline),
    detail: "this content is just being removed"
  })
