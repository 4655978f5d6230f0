// Whatever the pieces: the last of damaged content is never given, sound content is given as it is; and operators are told.
import { describe, expect, it } from "@effect/vitest"
import { Health } from "@holdfast/resilience/Health"
import { Effect, Logger, Schema, Stream } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { makeDamage } from "../src/Damage.ts"
import { sha256Of, text } from "./BlobStoreContract.ts"

const Pieces = Schema.Array(Schema.String.check(Schema.isMaxLength(20))).check(Schema.isMaxLength(8))

const givenOf = Effect.fnUntraced(function* <E>(content: Stream.Stream<Uint8Array, E>) {
  const given: Array<Uint8Array> = []
  const result = yield* Effect.result(Stream.runForEach(content, (piece) => Effect.sync(() => void given.push(piece))))
  return { bytes: Buffer.concat(given), isSound: result._tag === "Success" }
})

describe("a whole read", () => {
  it.effect.prop("gives sound content as it is, in whatever pieces it comes", [Pieces], ([pieces]) =>
    Effect.gen(function* () {
      const damage = yield* makeDamage("storage")
      const whole = Buffer.concat(pieces.map(text))
      const content = Stream.fromIterable(pieces.map(text))
      const { bytes, isSound } = yield* givenOf(damage.checked(sha256Of(whole), content))
      expect([isSound, bytes.equals(whole)]).toEqual([true, true])
    }).pipe(Effect.scoped, Effect.provide(Health.layer))
  )

  it.effect.prop("never gives the end of other content, in whatever pieces it comes", [Pieces], ([pieces]) =>
    Effect.gen(function* () {
      const damage = yield* makeDamage("storage")
      const key = sha256Of(text("what was stored, which none of the pieces make"))
      const { bytes, isSound } = yield* givenOf(damage.checked(key, Stream.fromIterable(pieces.map(text))))
      const allButTheLast = Buffer.concat(pieces.slice(0, -1).map(text))
      expect([isSound, bytes.equals(allButTheLast)]).toEqual([false, true])
      expect(damage.isKnown(key)).toBe(true)
    }).pipe(Effect.scoped, Effect.provide([Health.layer, Logger.layer([])]))
  )
})

describe("damage", () => {
  it.effect("is logged, counted, shown in health, and forgotten when the content is sound again", () =>
    Effect.gen(function* () {
      const logged: Array<string> = []
      const log = Logger.make((options) => void logged.push(JSON.stringify(Logger.formatStructured.log(options))))
      const damage = yield* makeDamage("object-storage")
      const content = text("sound")
      const key = sha256Of(content)
      const state = Health.use(({ all }) => Effect.map(all, (known) => known.map((one) => [one.state, one.detail])))
      yield* givenOf(damage.checked(key, Stream.make(text("other")))).pipe(Effect.provide(Logger.layer([log])))
      expect(logged.join()).toContain(key)
      expect(yield* PrometheusMetrics.format()).toMatch(
        /holdfast_storage_corrupt_total\{dependency="object-storage"\} [1-9]/
      )
      expect(yield* state).toEqual([["degraded", `damaged contents: 1, the first is ${key}`]])
      yield* givenOf(damage.checked(key, Stream.make(content)))
      expect([damage.isKnown(key), yield* state]).toEqual([false, [["up", null]]])
    }).pipe(Effect.scoped, Effect.provide(Health.layer))
  )
})
