// Blobs as files on a disk, under `<root>/<first two digits>/<sha256>`. A blob appears under its name only when every byte is on the
// disk and has the promised hash: it is written beside, flushed, renamed, and the folders are flushed. Folders are 0700 and files 0600,
// so another account of the machine reads nothing.
import { createHash, randomUUID } from "node:crypto"
import { dirname, join } from "node:path"
import type { Sha256 } from "@holdfast/contracts/Ids"
import { deadline } from "@holdfast/resilience/Deadline"
import { Storage } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { ByteSize, Context, Duration, Effect, Layer, Stream } from "effect"
import {
  BlobCorrupt,
  BlobNotFound,
  type BlobStore,
  type ByteRange,
  Intake,
  Quarantine,
  Released,
  Withdrawn
} from "./BlobStore.ts"
import type { DiskFile } from "./DiskFiles.ts"
import { shelfOf } from "./DiskSweep.ts"
import {
  codeOf,
  type Disk,
  type DiskOptions,
  io,
  ioIfThere,
  makeDisk,
  nullIfThere,
  partials,
  pathOf,
  removals,
  withdrawals
} from "./GuardedDisk.ts"
import { beingRemoved, Shelf } from "./Unneeded.ts"

export const layerQuarantine = (options: DiskOptions) =>
  Layer.effect(Quarantine, Effect.map(makeDisk(options), storeOf))
/** Also as its sweep sees it, and which files were withdrawn. */
export const layerReleased = (options: DiskOptions) =>
  Layer.effectContext(
    Effect.map(makeDisk(options), (disk) =>
      Context.make(Released, storeOf(disk)).pipe(
        Context.add(Shelf, shelfOf(disk)),
        Context.add(Withdrawn, withdrawnOf(disk))
      )
    )
  )
export const layerIntake = (options: DiskOptions) => Layer.effect(Intake, Effect.map(makeDisk(options), intakeOf))

const storeOf = (disk: Disk): BlobStore => ({
  put: (sha256, content) => put(disk, sha256, content),
  read: (sha256, range) => read(disk, sha256, range),
  sizeBytes: (sha256) =>
    disk.call(ioIfThere(() => disk.files.stat(pathOf(disk, sha256)))).pipe(
      Effect.flatMap((found) => foundOr(sha256, found)),
      Effect.map((found) => found.size)
    ),
  remove: (sha256) => disk.call(io(() => disk.files.remove(pathOf(disk, sha256))))
})

const foundOr = <A>(key: string, found: A | null): Effect.Effect<A, BlobNotFound> =>
  found === null ? Effect.fail(new BlobNotFound({ key })) : Effect.succeed(found)

/** Whether it is there; if so, its life starts anew, and its name is on the disk even if whoever gave it has not flushed it yet. */
const renew = (disk: Disk, sha256: Sha256) =>
  Effect.map(
    ioIfThere(async () => {
      await disk.files.touch(pathOf(disk, sha256))
      await flushFolders(disk, sha256)
      return true
    }),
    (found) => found !== null
  )

const put = Effect.fn("BlobStore.put")(function* (
  disk: Disk,
  sha256: Sha256,
  content: Stream.Stream<Uint8Array, Unavailable>
) {
  // Before anything else: see `Unneeded.ts`.
  if (yield* disk.call(isBeingRemoved(disk, sha256))) return yield* beingRemoved("storage")
  if (!disk.damage.isKnown(sha256) && (yield* disk.call(renew(disk, sha256)))) return
  yield* ensureRoom(disk, 0)
  const partial = join(disk.root, partials, randomUUID())
  const written = Effect.gen(function* () {
    const isPromised = (yield* writeAll(disk, partial, content)) === sha256
    if (isPromised) yield* settle(disk, sha256, (path) => disk.files.rename(partial, path))
    return isPromised
  })
  const isKept = yield* disk
    .call(written, { deadline: Storage.writeDeadline })
    .pipe(Effect.ensuring(Effect.ignore(io(() => disk.files.remove(partial)))))
  if (!isKept) return yield* new BlobCorrupt({ key: sha256 })
  yield* disk.damage.mended(sha256)
})

const ensureRoom = (disk: Disk, sizeBytes: number) =>
  disk.call(io(() => disk.files.freeBytes(disk.root))).pipe(
    Effect.flatMap((freeBytes) =>
      freeBytes - sizeBytes >= disk.freeBytesMin
        ? Effect.void
        : Effect.fail(
            new Unavailable({
              dependency: "storage",
              reason: "refused",
              retryAfterMs: Duration.toMillis(Duration.minutes(1)),
              detail: "the disk budget is reached"
            })
          )
    )
  )

/** Writes and flushes everything; the hash of what was written. */
const writeAll = <E>({ files }: Disk, path: string, content: Stream.Stream<Uint8Array, E>) =>
  Effect.acquireUseRelease(
    io(() => files.create(path)),
    (file) =>
      Effect.gen(function* () {
        const hash = createHash("sha256")
        yield* Stream.runForEach(content, (chunk) =>
          io(async () => {
            hash.update(chunk)
            await file.write(chunk)
          })
        )
        yield* io(() => file.sync())
        return hash.digest("hex")
      }),
    (file) => Effect.ignore(io(() => file.close()))
  )

/** Puts a finished file under its name and flushes the folders that lead to it. */
const settle = (disk: Disk, sha256: Sha256, place: (path: string) => Promise<unknown>) =>
  io(async () => {
    const path = pathOf(disk, sha256)
    await disk.files.makeFolder(dirname(path))
    await place(path)
    await flushFolders(disk, sha256)
  })

/** Another process may have made the folder and not flushed its name: so each process does, once. */
const flushFolders = async ({ files, root, settled }: Disk, sha256: Sha256): Promise<void> => {
  const folder = sha256.slice(0, 2)
  await files.syncFolder(join(root, folder))
  if (settled.has(folder)) return
  await files.syncFolder(root)
  settled.add(folder)
}

const read = (disk: Disk, sha256: Sha256, range?: ByteRange) => {
  if (range === undefined) return disk.damage.checked(sha256, contentOf(disk, sha256, 0, Number.MAX_SAFE_INTEGER))
  if (disk.damage.isKnown(sha256)) return Stream.fail(new BlobCorrupt({ key: sha256 }))
  return contentOf(disk, sha256, range.start, range.end + 1)
}

const contentOf = (disk: Disk, sha256: Sha256, start: number, end: number) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const file = yield* Effect.acquireRelease(
        Effect.flatMap(disk.call(ioIfThere(() => disk.files.open(pathOf(disk, sha256)))), (opened) =>
          foundOr(sha256, opened)
        ),
        (opened) => Effect.ignore(deadline(Storage.operationDeadline)(io(() => opened.close())))
      )
      return readChunks(disk, file, start, end)
    })
  )

/** @param end exclusive */
const readChunks = (disk: Disk, file: DiskFile, start: number, end: number) =>
  Stream.unfold(start, (position) =>
    Effect.gen(function* () {
      const lengthMax = Math.min(ByteSize.toNumberUnsafe(Storage.readChunkBytes), end - position)
      if (lengthMax <= 0) return undefined
      const chunk = new Uint8Array(lengthMax)
      const bytesRead = yield* disk.call(io(() => file.read(chunk, position)))
      return bytesRead === 0 ? undefined : ([chunk.subarray(0, bytesRead), position + bytesRead] as const)
    })
  )

const intakeOf = (disk: Disk): Intake["Service"] => ({
  hasRoomFor: (sizeBytes) => ensureRoom(disk, sizeBytes),
  take: Effect.fn("Intake.take")((path, sha256) => disk.call(settle(disk, sha256, linkOrRenew(disk, path))))
})

/** The same bytes may be there already, and a sweep may be about to remove them: their life starts anew, or they are added again. */
const linkOrRenew =
  ({ files }: Disk, path: string) =>
  async (target: string): Promise<void> => {
    await files.touch(path)
    try {
      await files.link(path, target)
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error
      await files.touch(target).catch(async (missing) => {
        if (codeOf(missing) !== "ENOENT") throw missing
        await files.link(path, target)
      })
    }
  }

const isBeingRemoved = (disk: Disk, sha256: Sha256) =>
  Effect.map(
    ioIfThere(() => disk.files.names(join(disk.root, removals))),
    (names) => names?.some((name) => name.startsWith(`${sha256}.`)) === true
  )

/** One empty file for each: its name is all that counts. */
const withdrawnOf = (disk: Disk): Withdrawn["Service"] => {
  const folder = join(disk.root, withdrawals)
  return {
    add: Effect.fn("Withdrawn.add")((fileId) =>
      disk.call(
        io(async () => {
          const file = await disk.files.create(join(folder, fileId)).catch(nullIfThere)
          await file?.close()
          await disk.files.syncFolder(folder)
        })
      )
    ),
    has: (fileId) =>
      Effect.map(disk.call(ioIfThere(() => disk.files.stat(join(folder, fileId)))), (found) => found !== null)
  }
}
