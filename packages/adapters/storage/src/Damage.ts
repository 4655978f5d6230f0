// Content whose bytes are not what its name says. It is logged, counted and shown in health until a whole read or a new write proves it sound;
// until then no part of it is given either, since a part cannot be checked by itself.
import { createHash } from "node:crypto"
import type { Sha256 } from "@holdfast/contracts/Ids"
import type { FailureDomain } from "@holdfast/resilience/FailureDomain"
import { Health } from "@holdfast/resilience/Health"
import { Storage } from "@holdfast/resilience/Limits"
import { Effect, Metric, Stream } from "effect"
import { BlobCorrupt } from "./BlobStore.ts"

export interface Damage {
  readonly isKnown: (key: Sha256) => boolean
  readonly mended: (key: Sha256) => Effect.Effect<void>
  /**
   * The whole content, checked: its last piece is held back until all of it has the hash that its name says, so whoever was given the end
   * was given the true bytes. Fails with `BlobCorrupt` otherwise.
   */
  readonly checked: <E>(
    key: Sha256,
    content: Stream.Stream<Uint8Array, E>
  ) => Stream.Stream<Uint8Array, E | BlobCorrupt>
}

const corrupt = Metric.counter("holdfast_storage_corrupt_total", {
  description: "Reads that found bytes other than those that were stored",
  incremental: true
})

export const makeDamage = Effect.fnUntraced(function* (dependency: FailureDomain) {
  const health = yield* Health
  const known = new Set<Sha256>()
  const reporter = Symbol("damage")
  const tell = Effect.suspend(() => {
    const [first] = known
    return first === undefined
      ? health.report(dependency, "up", null, reporter)
      : health.report(dependency, "degraded", `damaged contents: ${known.size}, the first is ${first}`, reporter)
  })
  const found = Effect.fnUntraced(function* (key: Sha256) {
    if (known.size < Storage.damagedMax) known.add(key)
    yield* Metric.update(Metric.withAttributes(corrupt, { dependency }), 1)
    yield* Effect.logError("stored content is damaged").pipe(Effect.annotateLogs({ dependency, sha256: key }))
    yield* tell
    return yield* new BlobCorrupt({ key })
  })
  const mended = (key: Sha256) => Effect.suspend(() => (known.delete(key) ? tell : Effect.void))
  const damage: Damage = {
    isKnown: (key) => known.has(key),
    mended,
    checked: (key, content) =>
      Stream.suspend(() => {
        const hash = createHash("sha256")
        let held: Uint8Array | null = null
        const shifted = Stream.map(content, (chunk) => {
          hash.update(chunk)
          const before = held
          held = chunk
          return before
        }).pipe(Stream.filter((chunk) => chunk !== null))
        const end = Effect.suspend(() =>
          hash.digest("hex") === key ? Effect.as(mended(key), held === null ? [] : [held]) : found(key)
        )
        return Stream.concat(shifted, Stream.flatMap(Stream.fromEffect(end), Stream.fromIterable))
      })
  }
  return damage
})
