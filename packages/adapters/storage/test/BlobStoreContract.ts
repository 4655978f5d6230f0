// What every blob store promises, whatever it stores on.
import { createHash } from "node:crypto"
import { expect, layer } from "@effect/vitest"
import { Sha256 } from "@holdfast/contracts/Ids"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Effect, type Layer, Stream } from "effect"
import { BlobCorrupt, BlobNotFound, Quarantine } from "../src/BlobStore.ts"

export const sha256Of = (bytes: Uint8Array): Sha256 => Sha256.make(createHash("sha256").update(bytes).digest("hex"))
export const text = (value: string): Uint8Array => new TextEncoder().encode(value)

const readAll = <E>(content: Stream.Stream<Uint8Array, E>) =>
  Effect.map(Stream.runCollect(content), (chunks) => Buffer.concat(chunks).toString())

export const contract = (name: string, stores: Layer.Layer<Quarantine, unknown>) =>
  layer(stores)(`a blob store on ${name}`, (it) => {
    it.effect("gives back what was put, whole and in parts", () =>
      Effect.gen(function* () {
        const store = yield* Quarantine
        const bytes = text("in three pieces")
        const key = sha256Of(bytes)
        yield* store.put(key, Stream.make(text("in "), text("three "), text("pieces")))
        expect(yield* readAll(store.read(key))).toBe("in three pieces")
        expect(yield* readAll(store.read(key, { start: 3, end: 7 }))).toBe("three")
        expect(yield* readAll(store.read(key, { start: 9, end: 900 }))).toBe("pieces")
        expect(yield* store.sizeBytes(key)).toBe(15)
      })
    )

    it.effect("keeps nothing, and something of no length", () =>
      Effect.gen(function* () {
        const store = yield* Quarantine
        const key = sha256Of(new Uint8Array())
        yield* store.put(key, Stream.empty)
        expect(yield* store.sizeBytes(key)).toBe(0)
        expect(yield* readAll(store.read(key))).toBe("")
      })
    )

    it.effect("refuses bytes that do not have the promised hash, and keeps none of them", () =>
      Effect.gen(function* () {
        const store = yield* Quarantine
        const key = sha256Of(text("promised"))
        expect(yield* Effect.flip(store.put(key, Stream.make(text("given"))))).toBeInstanceOf(BlobCorrupt)
        expect(yield* Effect.flip(store.sizeBytes(key))).toBeInstanceOf(BlobNotFound)
      })
    )

    it.effect("keeps nothing of content whose source fails", () =>
      Effect.gen(function* () {
        const store = yield* Quarantine
        const key = sha256Of(text("half and half"))
        const lost = new Unavailable({ dependency: "scanner", reason: "timeout", retryAfterMs: 1, detail: "lost" })
        const source = Stream.concat(Stream.make(text("half ")), Stream.fail(lost))
        expect(yield* Effect.flip(store.put(key, source))).toEqual(lost)
        expect(yield* Effect.flip(store.sizeBytes(key))).toBeInstanceOf(BlobNotFound)
      })
    )

    it.effect("stores the same bytes once, also when they come twice at once", () =>
      Effect.gen(function* () {
        const store = yield* Quarantine
        const bytes = text("twice")
        const put = store.put(sha256Of(bytes), Stream.make(bytes))
        yield* Effect.all([put, put, put], { concurrency: 3 })
        yield* put
        expect(yield* readAll(store.read(sha256Of(bytes)))).toBe("twice")
      })
    )

    it.effect("says what it does not have, and removes it again and again", () =>
      Effect.gen(function* () {
        const store = yield* Quarantine
        const bytes = text("gone")
        const key = sha256Of(bytes)
        expect(yield* Effect.flip(Stream.runDrain(store.read(key)))).toEqual(new BlobNotFound({ key }))
        yield* store.put(key, Stream.make(bytes))
        yield* store.remove(key)
        yield* store.remove(key)
        expect(yield* Effect.flip(store.sizeBytes(key))).toEqual(new BlobNotFound({ key }))
      })
    )
  })
