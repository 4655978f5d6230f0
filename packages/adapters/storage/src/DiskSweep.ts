// What is taken away from a disk, and what lies on it: leftovers of interrupted writes, quarantined content that is old and needed by nothing, and
// released content that no file needs any more.
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { Sha256 } from "@holdfast/contracts/Ids"
import { Storage } from "@holdfast/resilience/Limits"
import { Duration, Effect, Layer, Schema, Stream } from "effect"
import { References, StorageSweep } from "./BlobStore.ts"
import {
  about,
  agesIn,
  codeOf,
  type Disk,
  type DiskOptions,
  emptyIfMissing,
  io,
  makeDisk,
  nullIfMissing,
  partials,
  pathOf,
  removals
} from "./GuardedDisk.ts"
import { Inventory } from "./Inventory.ts"
import { removeUnneeded, Shelf, sweepUnneeded } from "./Unneeded.ts"

/** Of the quarantine, where content ages, and of the released store, one of its 256 folders at each run. */
export const layerSweep = (quarantine: DiskOptions) =>
  Layer.effect(
    StorageSweep,
    Effect.gen(function* () {
      const disk = yield* makeDisk(quarantine)
      const references = yield* References
      const shelf = yield* Shelf
      // Begins anywhere, so that a worker that is restarted every day comes to every folder too.
      let next = randomUUID().slice(0, 2)
      const takeTurn = Effect.sync(() => {
        const folder = next
        next = ((Number.parseInt(folder, 16) + 1) % 256).toString(16).padStart(2, "0")
        return folder
      })
      const released = Effect.flatMap(takeTurn, (folder) => sweepUnneeded(shelf, references.released, folder))
      const parts = [clean(disk), sweepQuarantine(disk, references.quarantined), shelf.clean, released]
      return {
        runOnce: Effect.map(Effect.all(parts), (counts) => counts.reduce((sum, count) => sum + count, 0)),
        remove: (keys) => removeUnneeded(shelf, references.released, keys)
      }
    })
  )

/** Of the quarantine and of the released store, for a comparison with what files need. */
export const layerInventory = (quarantine: DiskOptions) =>
  Layer.effect(
    Inventory,
    Effect.gen(function* () {
      const disk = yield* makeDisk(quarantine)
      const references = yield* References
      const shelf = yield* Shelf
      return {
        quarantined: (folder) => contentsIn(disk, folder),
        released: (folder) => shelf.list(folder),
        sweep: Effect.fnUntraced(function* (folder) {
          const old = yield* oldInFolder(disk, folder)
          const count = yield* removeFromQuarantine(disk, old, references.quarantined)
          return count + (yield* sweepUnneeded(shelf, references.released, folder))
        })
      }
    })
  )

export const shelfOf = (disk: Disk): Shelf["Service"] => ({
  list: (folder) => contentsIn(disk, folder),
  mark: (sha256) => {
    const path = join(disk.root, removals, `${sha256}.${randomUUID()}`)
    const made = disk.call(io(async () => (await disk.files.create(path)).close()))
    return Effect.as(made, disk.call(io(() => disk.files.remove(path))))
  },
  remove: (sha256) => disk.call(io(() => disk.files.remove(pathOf(disk, sha256)))),
  clean: clean(disk)
})

const isSha256 = Schema.is(Sha256)

/** Page by page, so that no folder is too large for a deadline. */
const contentsIn = (disk: Disk, folder: string) =>
  Stream.unwrap(
    Effect.map(disk.call(io(() => disk.files.names(join(disk.root, folder)).catch(emptyIfMissing))), (names) => {
      const contents = names.filter(isSha256)
      const pages = Array.from({ length: Math.ceil(contents.length / Storage.listedPageMax) }, (_, page) =>
        contents.slice(page * Storage.listedPageMax, (page + 1) * Storage.listedPageMax)
      )
      return Stream.mapEffect(Stream.fromIterable(pages), (page) =>
        Effect.map(disk.call(io(() => about(disk, folder, page))), (found) =>
          found.map(({ ageMs, name, sizeBytes }) => ({ sha256: name, sizeBytes, ageMs }))
        )
      )
    })
  )

/** What interrupted writes and removals left behind. Content that a removal had set aside goes back: it is judged again. */
const clean = (disk: Disk) =>
  disk.call(
    io(async () => {
      let count = 0
      for (const { ageMs, name } of await agesIn(disk, partials)) {
        const path = join(disk.root, partials, name)
        const [, sha256] = /^set-aside\.([0-9a-f]{64})\./.exec(name) ?? []
        if (sha256 !== undefined) await putBack(disk, path, pathOf(disk, sha256))
        else if (ageMs >= Duration.toMillis(Storage.leftoverLifetime)) count += await removed(disk, path)
      }
      for (const { ageMs, name } of await agesIn(disk, removals)) {
        if (ageMs >= Duration.toMillis(Storage.markLifetime))
          count += await removed(disk, join(disk.root, removals, name))
      }
      return count
    })
  )

const removed = async ({ files }: Disk, path: string): Promise<number> => {
  await files.remove(path)
  return 1
}

const sweepQuarantine = Effect.fnUntraced(function* (disk: Disk, needed: References["Service"]["quarantined"]) {
  return yield* removeFromQuarantine(disk, yield* oldIn(disk), needed)
})

const removeFromQuarantine = Effect.fnUntraced(function* (
  disk: Disk,
  old: ReadonlyArray<Sha256>,
  needed: References["Service"]["quarantined"]
) {
  if (old.length === 0) return 0
  const kept = yield* needed(old)
  let count = 0
  for (const sha256 of old) if (!kept.has(sha256)) count += yield* removeOld(disk, sha256)
  return count
})

const oldInFolder = Effect.fnUntraced(function* (disk: Disk, folder: string) {
  const aged = yield* disk.call(io(() => agesIn(disk, folder)))
  return aged.flatMap(({ ageMs, name }) => (ageMs >= lifetimeMs && isSha256(name) ? [name] : []))
})

/** Not all at once where there are very many; from any folder on, so that those which are kept for long never stand before the others. */
const oldIn = Effect.fnUntraced(function* (disk: Disk) {
  const names = yield* disk.call(io(() => disk.files.names(disk.root)))
  const folders = names.filter((name) => /^[0-9a-f]{2}$/.test(name)).sort()
  const anywhere = randomUUID().slice(0, 2)
  const from = folders.findIndex((folder) => folder >= anywhere)
  const found: Array<Sha256> = []
  for (const folder of [...folders.slice(Math.max(0, from)), ...folders.slice(0, Math.max(0, from))]) {
    found.push(...(yield* oldInFolder(disk, folder)))
    if (found.length >= Storage.sweptContentsMax) return found.slice(0, Storage.sweptContentsMax)
  }
  return found
})

const lifetimeMs = Duration.toMillis(Storage.quarantineLifetime)

/**
 * Set aside first and looked at again, so that content which arrives anew in this very moment is put back. Its name says what it is, so
 * that it is put back as well when the process ends in between.
 */
const removeOld = (disk: Disk, sha256: Sha256) =>
  disk.call(
    io(async () => {
      const { files, root } = disk
      const path = pathOf(disk, sha256)
      const aside = join(root, partials, `set-aside.${sha256}.${randomUUID()}`)
      try {
        await files.rename(path, aside)
        const { mtimeMs } = await files.stat(aside)
        if ((await files.nowMs(root)) - mtimeMs >= lifetimeMs) return await removed(disk, aside)
      } catch (error) {
        // Another sweep was faster, or has put it back.
        return nullIfMissing(error) ?? 0
      }
      await putBack(disk, aside, path)
      return 0
    })
  )

const putBack = async ({ files }: Disk, aside: string, path: string): Promise<void> => {
  await files.link(aside, path).catch((error) => {
    if (codeOf(error) !== "EEXIST" && codeOf(error) !== "ENOENT") throw error
  })
  await files.remove(aside)
}
