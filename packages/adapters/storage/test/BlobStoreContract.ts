// What every blob store promises, whatever it stores on.
import { createHash, randomUUID } from "node:crypto"
import { expect, layer } from "@effect/vitest"
import { FileId, Sha256 } from "@holdfast/contracts/Ids"
import { Health } from "@holdfast/resilience/Health"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Duration, Effect, type Layer, Stream } from "effect"
import { BlobCorrupt, BlobNotFound, Quarantine, Released, Withdrawn } from "../src/BlobStore.ts"
import { removeUnneeded, Shelf, sweepUnneeded } from "../src/Unneeded.ts"

export const sha256Of = (bytes: Uint8Array): Sha256 => Sha256.make(createHash("sha256").update(bytes).digest("hex"))
export const text = (value: string): Uint8Array => new TextEncoder().encode(value)

/** What time and bad disks do to stored bytes: one of them is another one now. */
export class Harm extends Context.Service<Harm, (sha256: Sha256) => Effect.Effect<void>>()("test/Harm") {}

const readAll = <E>(content: Stream.Stream<Uint8Array, E>) =>
  Effect.map(Stream.runCollect(content), (chunks) => Buffer.concat(chunks).toString())

/** All that was given before the end, and how it ended. */
const given = <E>(content: Stream.Stream<Uint8Array, E>) =>
  Effect.gen(function* () {
    const chunks: Array<Uint8Array> = []
    const exit = yield* Effect.result(Stream.runForEach(content, (chunk) => Effect.sync(() => void chunks.push(chunk))))
    return { bytes: Buffer.concat(chunks), error: exit._tag === "Failure" ? exit.failure : null }
  })

/** More than two parts of a write to object storage, and not in whole parts. */
const large = Buffer.alloc(20_000_001, "a quite long content of more than one part; ")
const inPieces = (bytes: Uint8Array, sizeBytes: number) =>
  Stream.unfold(0, (at) =>
    Effect.succeed(at >= bytes.length ? undefined : ([bytes.subarray(at, at + sizeBytes), at + sizeBytes] as const))
  )

const needsNone = () => Effect.succeed(new Set<Sha256>())
const folderOf = (key: Sha256) => key.slice(0, 2)

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
        expect(yield* readAll(store.read(key, { start: 900, end: 901 }))).toBe("")
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
        const part = store.read(key, { start: 0, end: 1 })
        expect(yield* Effect.flip(Stream.runDrain(part))).toEqual(new BlobNotFound({ key }))
        yield* store.put(key, Stream.make(bytes))
        yield* store.remove(key)
        yield* store.remove(key)
        expect(yield* Effect.flip(store.sizeBytes(key))).toEqual(new BlobNotFound({ key }))
      })
    )
  })

/** What the released store promises besides, on a real disk or server. */
export const releasedContract = (
  name: string,
  stores: Layer.Layer<Released | Shelf | Withdrawn | Harm | Health, unknown>
) =>
  layer(stores, { excludeTestServices: true, timeout: "30 seconds" })(`a released store on ${name}`, (it) => {
    const put = (bytes: Uint8Array) => Released.use((store) => store.put(sha256Of(bytes), Stream.make(bytes)))

    it.effect("keeps large content byte for byte, whatever the pieces it comes in", () =>
      Effect.gen(function* () {
        const store = yield* Released
        const key = sha256Of(large)
        yield* store.put(key, inPieces(large, 300_007))
        expect(yield* store.sizeBytes(key)).toBe(large.length)
        const { bytes, error } = yield* given(store.read(key))
        expect([error, bytes.equals(large)]).toEqual([null, true])
        const middle = yield* given(store.read(key, { start: 8_388_600, end: 8_388_620 }))
        expect(middle.bytes.equals(large.subarray(8_388_600, 8_388_621))).toBe(true)
      })
    )

    it.effect("ends a read whose reader has had enough, and goes on with others", () =>
      Effect.gen(function* () {
        const store = yield* Released
        yield* store.put(sha256Of(large), inPieces(large, 1 << 20))
        for (let reader = 0; reader < 5; reader++) {
          expect((yield* Stream.runCollect(Stream.take(store.read(sha256Of(large)), 1))).length).toBe(1)
        }
        expect((yield* given(store.read(sha256Of(large)))).error).toBe(null)
      })
    )

    it.effect("refuses bytes that do not have the promised hash, and keeps none of them", () =>
      Effect.gen(function* () {
        const store = yield* Released
        const key = sha256Of(text("promised"))
        expect(yield* Effect.flip(store.put(key, Stream.make(text("given"))))).toBeInstanceOf(BlobCorrupt)
        expect(yield* Effect.flip(store.put(key, inPieces(large, 1 << 20)))).toBeInstanceOf(BlobCorrupt)
        expect(yield* Effect.flip(store.sizeBytes(key))).toBeInstanceOf(BlobNotFound)
      })
    )

    it.effect("keeps nothing of content whose source fails", () =>
      Effect.gen(function* () {
        const store = yield* Released
        const key = sha256Of(text("half and half"))
        const lost = new Unavailable({ dependency: "scanner", reason: "timeout", retryAfterMs: 1, detail: "lost" })
        for (const half of [text("half "), large]) {
          const source = Stream.concat(Stream.make(half), Stream.fail(lost))
          expect(yield* Effect.flip(store.put(key, source))).toEqual(lost)
        }
        expect(yield* Effect.flip(store.sizeBytes(key))).toBeInstanceOf(BlobNotFound)
      })
    )

    it.effect("stores the same bytes once, also when they come several times at once", () =>
      Effect.gen(function* () {
        const store = yield* Released
        const bytes = text("twice")
        const key = sha256Of(bytes)
        let sent = 0
        const counted = Stream.tap(Stream.make(bytes), () => Effect.sync(() => sent++))
        yield* Effect.all([store.put(key, counted), store.put(key, counted), store.put(key, counted)], {
          concurrency: 3
        })
        const sentBefore = sent
        yield* store.put(key, counted)
        expect(sent).toBe(sentBefore)
        expect(yield* readAll(store.read(key))).toBe("twice")
        const listed = yield* Stream.runCollect((yield* Shelf).list(folderOf(key)))
        expect(listed.flat().filter(({ sha256 }) => sha256 === key)).toHaveLength(1)
      })
    )

    it.effect("fails before the last piece of damaged content, says so in health, and then gives no part of it", () =>
      Effect.gen(function* () {
        const store = yield* Released
        const bytes = Buffer.alloc(600_000, "damaged ")
        const key = sha256Of(bytes)
        yield* put(bytes)
        yield* Effect.flatMap(Harm, (harm) => harm(key))
        const read = yield* given(store.read(key))
        expect(read.error).toEqual(new BlobCorrupt({ key }))
        expect(read.bytes.length).toBeLessThan(bytes.length)
        expect(yield* Effect.flip(Stream.runDrain(store.read(key, { start: 0, end: 9 })))).toEqual(
          new BlobCorrupt({ key })
        )
        const health = yield* Health.use(({ all }) => all)
        expect(health).toContainEqual(
          expect.objectContaining({ state: "degraded", detail: expect.stringContaining(key) })
        )
      })
    )

    it.effect("is mended by the same bytes put anew", () =>
      Effect.gen(function* () {
        const store = yield* Released
        const bytes = text("damaged, then mended")
        const key = sha256Of(bytes)
        yield* put(bytes)
        yield* Effect.flatMap(Harm, (harm) => harm(key))
        expect((yield* given(store.read(key))).bytes.length).toBe(0)
        yield* put(bytes)
        expect(yield* readAll(store.read(key))).toBe("damaged, then mended")
        expect(yield* readAll(store.read(key, { start: 0, end: 6 }))).toBe("damaged")
      })
    )

    it.effect("sweeps what no file needs, and nothing else", () =>
      Effect.gen(function* () {
        const store = yield* Released
        const shelf = yield* Shelf
        const [unneeded, needed] = [text("unneeded"), text("needed")].map(sha256Of)
        if (unneeded === undefined || needed === undefined) return
        yield* put(text("unneeded"))
        yield* put(text("needed"))
        const sweep = (key: Sha256, lifetime: Duration.Duration) =>
          sweepUnneeded(shelf, () => Effect.succeed(new Set([needed])), folderOf(key), lifetime)
        expect(yield* sweep(unneeded, Duration.days(1))).toBe(0)
        expect(yield* sweep(unneeded, Duration.seconds(-5))).toBe(1)
        expect(yield* sweep(needed, Duration.seconds(-5))).toBe(0)
        expect(yield* Effect.flip(store.sizeBytes(unneeded))).toBeInstanceOf(BlobNotFound)
        expect(yield* store.sizeBytes(needed)).toBe(6)
        yield* put(text("unneeded"))
        expect(yield* store.sizeBytes(unneeded)).toBe(8)
      })
    )

    it.effect("removes at once what no file needs, and leaves what one does", () =>
      Effect.gen(function* () {
        const store = yield* Released
        const shelf = yield* Shelf
        const keys = [text("bad and young"), text("somebody else's")].map(sha256Of)
        const [bad, needed] = keys
        if (bad === undefined || needed === undefined) return
        yield* put(text("bad and young"))
        yield* put(text("somebody else's"))
        const remove = removeUnneeded(shelf, () => Effect.succeed(new Set([needed])), keys)
        yield* remove
        yield* remove
        expect(yield* Effect.flip(store.sizeBytes(bad))).toBeInstanceOf(BlobNotFound)
        expect(yield* store.sizeBytes(needed)).toBe(15)
        yield* put(text("bad and young"))
        expect(yield* store.sizeBytes(bad)).toBe(13)
      })
    )

    it.effect("remembers which files were withdrawn, beside all content and through every sweep", () =>
      Effect.gen(function* () {
        const withdrawn = yield* Withdrawn
        const [one, other] = [FileId.make(randomUUID()), FileId.make(randomUUID())]
        expect(yield* withdrawn.has(one)).toBe(false)
        yield* withdrawn.add(one)
        yield* withdrawn.add(one)
        const shelf = yield* Shelf
        yield* shelf.clean
        yield* sweepUnneeded(shelf, needsNone, one.slice(0, 2), Duration.seconds(-5))
        expect([yield* withdrawn.has(one), yield* withdrawn.has(other)]).toEqual([true, false])
      })
    )

    it.effect("refuses a put while its content is being removed, and takes it afterwards", () =>
      Effect.gen(function* () {
        const store = yield* Released
        const shelf = yield* Shelf
        const bytes = text("arrives while it goes")
        const key = sha256Of(bytes)
        yield* put(bytes)
        const unmark = yield* shelf.mark(key)
        expect(yield* Effect.flip(put(bytes))).toMatchObject({ _tag: "Unavailable", reason: "refused" })
        yield* put(text("another"))
        yield* shelf.remove(key)
        expect(yield* Effect.flip(put(bytes))).toMatchObject({ _tag: "Unavailable", reason: "refused" })
        yield* unmark
        yield* put(bytes)
        expect(yield* store.sizeBytes(key)).toBe(bytes.length)
        expect(yield* shelf.clean).toBe(0)
      })
    )

    it.effect("lists a folder of any size", () =>
      Effect.gen(function* () {
        const shelf = yield* Shelf
        const bytes = text("listed")
        const key = sha256Of(bytes)
        yield* put(bytes)
        const found = (yield* Stream.runCollect(shelf.list(folderOf(key)))).flat()
        expect(found.find(({ sha256 }) => sha256 === key)?.sizeBytes).toBe(bytes.length)
        for (const { ageMs } of found) expect(Math.abs(ageMs)).toBeLessThan(3_600_000)
        expect((yield* Stream.runCollect(shelf.list("zz"))).flat()).toEqual([])
        expect(yield* sweepUnneeded(shelf, needsNone, "zz")).toBe(0)
      })
    )
  })
