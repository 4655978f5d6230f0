// Blobs as files on a disk, under `<root>/<first two digits>/<sha256>`. A blob appears under its name only when every byte is on the
// disk and has the promised hash: it is written beside, flushed, renamed, and the folders are flushed. Folders are 0700 and files 0600,
// so another account of the machine reads nothing. The disk's own failures (full, read error, hung) become `Unavailable`; only those by
// which it cannot be read either open the breaker, so a full disk goes on giving what it has.
import { createHash, randomUUID } from "node:crypto"
import { dirname, join } from "node:path"
import { Sha256 } from "@holdfast/contracts/Ids"
import { deadline } from "@holdfast/resilience/Deadline"
import { type Guard, makeGuard } from "@holdfast/resilience/Guard"
import { Storage } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { ByteSize, Context, Data, Duration, Effect, Layer, Schema, Stream } from "effect"
import {
  BlobCorrupt,
  BlobNotFound,
  type BlobStore,
  type ByteRange,
  Intake,
  Quarantine,
  References,
  Released,
  StorageSweep,
  Withdrawn
} from "./BlobStore.ts"
import { type Damage, makeDamage } from "./Damage.ts"
import { type DiskFile, type DiskFiles, nodeFiles } from "./DiskFiles.ts"
import { Inventory } from "./Inventory.ts"
import { beingRemoved, removeUnneeded, Shelf, sweepUnneeded } from "./Unneeded.ts"

export interface DiskOptions {
  readonly root: string
  /** Never fill the disk further than to this; `Storage.freeBytesMin` unless told. */
  readonly freeBytesMin?: number
  /** This machine's, unless told. */
  readonly files?: DiskFiles
}

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

interface Disk {
  readonly root: string
  readonly freeBytesMin: number
  readonly files: DiskFiles
  readonly call: Call
  readonly damage: Damage
  /** Folders whose own names are certainly on the disk. */
  readonly settled: Set<string>
}

/** The guard's call; what the disk refuses passes it as such. */
type Call = <A>(
  self: Effect.Effect<A, DiskError | Unavailable>,
  options?: Parameters<Guard["call"]>[1]
) => Effect.Effect<A, Unavailable>

/** Only the code of a disk's error travels: its message carries paths. */
class DiskError extends Data.TaggedError("DiskError")<{ readonly code: string }> {}

const makeDisk = Effect.fnUntraced(function* ({ files = nodeFiles, freeBytesMin, root }: DiskOptions) {
  const guard = yield* makeGuard({
    dependency: "storage",
    deadline: Storage.operationDeadline,
    concurrencyMax: Storage.operationsAtOnceMax,
    acquireDeadline: Storage.acquireDeadline,
    probe: io(() => files.stat(root)),
    toFailure: (error) =>
      error instanceof DiskError && !refusals.has(error.code)
        ? { reason: "connection_lost", detail: answered(error) }
        : null
  })
  const call: Call = (self, callOptions) =>
    Effect.mapError(guard.call(self, callOptions), (error) => (error._tag === "DiskError" ? refused(error) : error))
  const disk: Disk = {
    root,
    freeBytesMin: freeBytesMin ?? ByteSize.toNumberUnsafe(Storage.freeBytesMin),
    files,
    call,
    damage: yield* makeDamage("storage"),
    settled: new Set()
  }
  // A disk that is away at start is no reason not to start: each call then says so itself.
  yield* Effect.ignore(call(io(() => makeRoot(disk))), { log: true })
  return disk
})

const makeRoot = async ({ files, root }: Disk): Promise<void> => {
  for (const folder of [partials, removals, withdrawals]) await files.makeFolder(join(root, folder))
  await files.syncFolder(root)
  await files.syncFolder(dirname(root))
}

/** Below the root, beside the 256 folders. */
const partials = "partial"
const removals = "removing"
const withdrawals = "withdrawn"

const io = <A>(run: () => Promise<A>): Effect.Effect<A, DiskError> =>
  Effect.tryPromise({ try: run, catch: (error) => new DiskError({ code: codeOf(error) }) })

/** Null where there is no such file. */
const ioIfThere = <A>(run: () => Promise<A>): Effect.Effect<A | null, DiskError> =>
  Effect.catch(io(run), (error) => (error.code === "ENOENT" ? Effect.succeed(null) : Effect.fail(error)))

const foundOr = <A>(key: string, found: A | null): Effect.Effect<A, BlobNotFound> =>
  found === null ? Effect.fail(new BlobNotFound({ key })) : Effect.succeed(found)

const codeOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "EUNKNOWN"

const refusals = new Set(["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "EMFILE", "ENFILE"])

const answered = ({ code }: DiskError) => `the disk answered ${code}`

const refused = (error: DiskError): Unavailable =>
  new Unavailable({
    dependency: "storage",
    reason: "refused",
    retryAfterMs: Duration.toMillis(Storage.retryDelay),
    detail: answered(error)
  })

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

const pathOf = (disk: Disk, sha256: string): string => join(disk.root, sha256.slice(0, 2), sha256)

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

const shelfOf = (disk: Disk): Shelf["Service"] => ({
  list: (folder) => contentsIn(disk, folder),
  mark: (sha256) => {
    const path = join(disk.root, removals, `${sha256}.${randomUUID()}`)
    const made = disk.call(io(async () => (await disk.files.create(path)).close()))
    return Effect.as(made, disk.call(io(() => disk.files.remove(path))))
  },
  remove: (sha256) => disk.call(io(() => disk.files.remove(pathOf(disk, sha256)))),
  clean: clean(disk)
})

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

const nullIfThere = (error: unknown): null => {
  if (codeOf(error) === "EEXIST") return null
  throw error
}

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

interface Aged<Name extends string = string> {
  readonly name: Name
  readonly sizeBytes: number
  readonly ageMs: number
}

const agesIn = async (disk: Disk, folder: string): Promise<ReadonlyArray<Aged>> =>
  about(disk, folder, await disk.files.names(join(disk.root, folder)).catch(emptyIfMissing))

/** What vanishes meanwhile is left out. */
const about = async <Name extends string>({ files, root }: Disk, folder: string, names: ReadonlyArray<Name>) => {
  const nowMs = await files.nowMs(root)
  const found: Array<Aged<Name>> = []
  for (const name of names) {
    const stat = await files.stat(join(root, folder, name)).catch(nullIfMissing)
    if (stat !== null) found.push({ name, sizeBytes: stat.size, ageMs: nowMs - stat.mtimeMs })
  }
  return found
}

const nullIfMissing = (error: unknown): null => {
  if (codeOf(error) === "ENOENT") return null
  throw error
}
const emptyIfMissing = (error: unknown): ReadonlyArray<string> => nullIfMissing(error) ?? []

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
