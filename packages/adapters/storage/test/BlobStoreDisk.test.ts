// What the disk layer promises beyond the contract: permissions, damage found, the budget kept, leftovers swept.
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, truncate, utimes, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import type { Sha256 } from "@holdfast/contracts/Ids"
import { Health } from "@holdfast/resilience/Health"
import { Effect, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { BlobCorrupt, Intake, Quarantine, References, StorageSweep } from "../src/BlobStore.ts"
import { layerIntake, layerQuarantine, layerReleased } from "../src/BlobStoreDisk.ts"
import { layerSweep } from "../src/DiskSweep.ts"
import { contract, Harm, releasedContract, sha256Of, text } from "./BlobStoreContract.ts"

const temporaryRoot = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-blobs-"))),
  (root) => Effect.promise(() => rm(root, { recursive: true, force: true }))
)

const harmIn =
  (root: string): Harm["Service"] =>
  (sha256) =>
    Effect.promise(async () => {
      const path = join(root, sha256.slice(0, 2), sha256)
      const bytes = await readFile(path)
      bytes.writeUInt8((bytes[0] ?? 0) ^ 1, 0)
      await writeFile(path, bytes)
    })

contract(
  "a disk",
  Layer.unwrap(Effect.map(temporaryRoot, (root) => layerQuarantine({ root }))).pipe(Layer.provide(Health.layer))
)

releasedContract(
  "a disk",
  Layer.unwrap(
    Effect.map(temporaryRoot, (root) => Layer.merge(layerReleased({ root }), Layer.succeed(Harm, harmIn(root))))
  ).pipe(Layer.provideMerge(Health.layer))
)

/** Files that wait with this content. */
const waiting = (keys: ReadonlyArray<Sha256>) =>
  Layer.succeed(References, {
    quarantined: () => Effect.succeed(new Set(keys)),
    released: () => Effect.succeed(new Set<Sha256>())
  })

const use = <A, E>(
  body: (root: string) => Effect.Effect<A, E, Quarantine | Intake | StorageSweep>,
  freeBytesMin = 0,
  needed: ReadonlyArray<Sha256> = []
) =>
  Effect.gen(function* () {
    const root = yield* temporaryRoot
    const options = { root: join(root, "quarantine"), freeBytesMin }
    const layers = Layer.mergeAll(
      layerQuarantine(options),
      layerIntake(options),
      Layer.provide(layerSweep(options), [layerReleased({ ...options, root: join(root, "released") }), waiting(needed)])
    )
    return yield* body(root).pipe(Effect.provide(layers.pipe(Layer.provide(Health.layer))))
  })

describe("a disk", () => {
  const bytes = text("the same bytes")
  const key = sha256Of(bytes)
  const pathIn = (root: string) => join(root, "quarantine", key.slice(0, 2), key)
  const put = Quarantine.use((store) => store.put(key, Stream.make(bytes)))
  const ages = (path: string) => Effect.promise(() => utimes(path, new Date(0), new Date(0)))

  it.effect("shows its files to no other account", () =>
    use((root) =>
      Effect.gen(function* () {
        yield* put
        const modeOf = async (path: string) => (await stat(path)).mode & 0o777
        expect(yield* Effect.promise(() => modeOf(pathIn(root)))).toBe(0o600)
        expect(yield* Effect.promise(() => modeOf(join(root, "quarantine")))).toBe(0o700)
        expect(yield* Effect.promise(() => modeOf(join(root, "quarantine", key.slice(0, 2))))).toBe(0o700)
      })
    )
  )

  it.effect("finds damage at the next whole read", () =>
    use((root) =>
      Effect.gen(function* () {
        yield* put
        yield* Effect.promise(() => truncate(pathIn(root), 3))
        const store = yield* Quarantine
        expect(yield* Effect.flip(Stream.runDrain(store.read(key)))).toEqual(new BlobCorrupt({ key }))
      })
    )
  )

  it.effect("leaves nothing of a refused write behind", () =>
    use((root) =>
      Effect.gen(function* () {
        const store = yield* Quarantine
        yield* Effect.ignore(store.put(key, Stream.make(text("other"))))
        expect(yield* Effect.promise(() => readdir(join(root, "quarantine", "partial")))).toEqual([])
      })
    )
  )

  it.effect("refuses once its budget is reached", () =>
    use(
      () =>
        Effect.gen(function* () {
          expect(yield* Effect.flip(put)).toMatchObject({ _tag: "Unavailable", reason: "refused" })
          const intake = yield* Intake
          expect(yield* Effect.flip(intake.hasRoomFor(1))).toMatchObject({ reason: "refused" })
        }),
      Number.MAX_SAFE_INTEGER
    )
  )

  it.effect("takes over a finished file, once or again", () =>
    use((root) =>
      Effect.gen(function* () {
        const path = join(root, "upload")
        yield* Effect.promise(() => writeFile(path, bytes))
        const intake = yield* Intake
        yield* intake.take(path, key)
        yield* intake.take(path, key)
        yield* Effect.promise(() => rm(path))
        const store = yield* Quarantine
        expect(yield* store.sizeBytes(key)).toBe(bytes.length)
      })
    )
  )

  it.effect("sweeps leftovers and old content, and leaves the rest", () =>
    use((root) =>
      Effect.gen(function* () {
        yield* put
        const kept = text("arrived today")
        const store = yield* Quarantine
        yield* store.put(sha256Of(kept), Stream.make(kept))
        const leftover = join(root, "quarantine", "partial", "leftover")
        yield* Effect.promise(() => writeFile(leftover, "half"))
        yield* Effect.all([ages(leftover), ages(pathIn(root))])
        expect(yield* StorageSweep.use((sweep) => sweep.runOnce)).toBe(2)
        expect(yield* store.sizeBytes(sha256Of(kept))).toBe(kept.length)
        expect(yield* Effect.flip(store.sizeBytes(key))).toMatchObject({ _tag: "BlobNotFound" })
      })
    )
  )

  it.effect("keeps old content that a file still waits with", () =>
    use(
      (root) =>
        Effect.gen(function* () {
          yield* put
          yield* ages(pathIn(root))
          expect(yield* StorageSweep.use((sweep) => sweep.runOnce)).toBe(0)
          expect(yield* Effect.promise(() => readdir(join(root, "quarantine", key.slice(0, 2))))).toEqual([key])
        }),
      0,
      [key]
    )
  )

  it.effect("puts back what a sweep that died had set aside", () =>
    use((root) =>
      Effect.gen(function* () {
        yield* put
        const aside = join(root, "quarantine", "partial", `set-aside.${key}.of-a-sweep-that-died`)
        yield* Effect.promise(() => rename(pathIn(root), aside))
        expect(yield* StorageSweep.use((sweep) => sweep.runOnce)).toBe(0)
        const store = yield* Quarantine
        expect(yield* store.sizeBytes(key)).toBe(bytes.length)
        expect(yield* Effect.promise(() => readdir(join(root, "quarantine", "partial")))).toEqual([])
      })
    )
  )

  it.effect("tells ages by the disk's clock, whatever the process thinks the time is", () =>
    use((root) =>
      Effect.gen(function* () {
        yield* put
        yield* TestClock.setTime(Date.now() + 30 * 86_400_000)
        expect(yield* StorageSweep.use((sweep) => sweep.runOnce)).toBe(0)
        expect(yield* Effect.promise(() => readdir(join(root, "quarantine", key.slice(0, 2))))).toEqual([key])
      })
    )
  )

  it.effect("gives content that arrives again a new life", () =>
    use((root) =>
      Effect.gen(function* () {
        yield* put
        yield* ages(pathIn(root))
        yield* put
        const changed = yield* Effect.promise(() => stat(pathIn(root)))
        expect(changed.mtimeMs).toBeGreaterThan(0)
      })
    )
  )

  it.effect("is unavailable, not broken, when its folder cannot be used", () =>
    use((root) =>
      Effect.gen(function* () {
        yield* Effect.promise(() => rm(join(root, "quarantine"), { recursive: true }))
        yield* Effect.promise(() => mkdir(join(root, "elsewhere")))
        yield* Effect.promise(() => writeFile(join(root, "quarantine"), "not a folder"))
        expect(yield* Effect.flip(put)).toMatchObject({ _tag: "Unavailable", dependency: "storage" })
      })
    )
  )
})
