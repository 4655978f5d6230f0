// Blobs as files on a disk, under `<root>/<first two digits>/<sha256>`. A blob appears under its name only when every byte is on the
// disk and has the promised hash: it is written beside, flushed, renamed, and the folder is flushed. Folders are 0700 and files 0600,
// so another account of the machine reads nothing. The disk's own failures (full, read error, hung) become `Unavailable`; only those by
// which it cannot be read either open the breaker, so a full disk goes on giving what it has.
import { createHash, type Hash, randomUUID } from "node:crypto"
import type { Dirent } from "node:fs"
import { chmod, type FileHandle, link, mkdir, open, readdir, rename, rm, stat, statfs, utimes } from "node:fs/promises"
import { dirname, join } from "node:path"
import type { Sha256 } from "@holdfast/contracts/Ids"
import { deadline } from "@holdfast/resilience/Deadline"
import { type Guard, makeGuard } from "@holdfast/resilience/Guard"
import { Storage } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { ByteSize, Data, Duration, Effect, Layer, Stream } from "effect"
import {
  BlobCorrupt,
  BlobNotFound,
  type BlobStore,
  type ByteRange,
  Intake,
  Quarantine,
  Released,
  StorageSweep
} from "./BlobStore.ts"
import { diskNowMs } from "./DiskClock.ts"

export interface DiskOptions {
  readonly root: string
  /** Never fill the disk further than to this; `Storage.freeBytesMin` unless told. */
  readonly freeBytesMin?: number
}

export const layerQuarantine = (options: DiskOptions) =>
  Layer.effect(Quarantine, Effect.map(makeDisk(options), storeOf))
export const layerReleased = (options: DiskOptions) => Layer.effect(Released, Effect.map(makeDisk(options), storeOf))
export const layerIntake = (options: DiskOptions) => Layer.effect(Intake, Effect.map(makeDisk(options), intakeOf))
/** Of both roots; only quarantined content ages. */
export const layerSweep = (quarantine: DiskOptions, released: DiskOptions) =>
  Layer.effect(
    StorageSweep,
    Effect.gen(function* () {
      const sweeps = [
        sweepOf(yield* makeDisk(quarantine), Storage.quarantineLifetime),
        sweepOf(yield* makeDisk(released), null)
      ]
      return { runOnce: Effect.map(Effect.all(sweeps), (counts) => counts.reduce((sum, count) => sum + count, 0)) }
    })
  )

interface Disk {
  readonly root: string
  readonly freeBytesMin: number
  readonly call: Call
}

/** The guard's call; what the disk refuses passes it as such. */
type Call = <A>(
  self: Effect.Effect<A, DiskError | Unavailable>,
  options?: Parameters<Guard["call"]>[1]
) => Effect.Effect<A, Unavailable>

/** Only the code of a disk's error travels: its message carries paths. */
class DiskError extends Data.TaggedError("DiskError")<{ readonly code: string }> {}

const makeDisk = Effect.fnUntraced(function* (options: DiskOptions) {
  const { root } = options
  const guard = yield* makeGuard({
    dependency: "storage",
    deadline: Storage.operationDeadline,
    concurrencyMax: Storage.operationsAtOnceMax,
    acquireDeadline: Storage.acquireDeadline,
    probe: io(() => stat(root)),
    toFailure: (error) =>
      error instanceof DiskError && !refusals.has(error.code)
        ? { reason: "connection_lost", detail: answered(error) }
        : null
  })
  const call: Call = (self, callOptions) =>
    Effect.mapError(guard.call(self, callOptions), (error) => (error._tag === "DiskError" ? refused(error) : error))
  // A disk that is away at start is no reason not to start: each call then says so itself.
  yield* Effect.ignore(call(io(() => mkdir(join(root, "partial"), { recursive: true, mode: 0o700 }))), {
    log: true
  })
  const disk: Disk = {
    root,
    freeBytesMin: options.freeBytesMin ?? ByteSize.toNumberUnsafe(Storage.freeBytesMin),
    call
  }
  return disk
})

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
    disk.call(ioIfThere(() => stat(pathOf(disk, sha256)))).pipe(
      Effect.flatMap((found) => foundOr(sha256, found)),
      Effect.map((found) => found.size)
    ),
  remove: (sha256) => disk.call(io(() => rm(pathOf(disk, sha256), { force: true })))
})

const pathOf = (disk: Disk, sha256: string): string => join(disk.root, sha256.slice(0, 2), sha256)

/** Whether it is there; if so, its life starts anew. */
const renew = (disk: Disk, sha256: Sha256) =>
  Effect.map(
    ioIfThere(() => touch(pathOf(disk, sha256))),
    (time) => time !== null
  )

const put = Effect.fn("BlobStore.put")(function* (
  disk: Disk,
  sha256: Sha256,
  content: Stream.Stream<Uint8Array, Unavailable>
) {
  if (yield* disk.call(renew(disk, sha256))) return
  yield* ensureRoom(disk, 0)
  const partial = join(disk.root, "partial", randomUUID())
  const written = Effect.gen(function* () {
    const isPromised = (yield* writeAll(partial, content)) === sha256
    if (isPromised) yield* settle(disk, sha256, (path) => rename(partial, path))
    return isPromised
  })
  const isKept = yield* disk
    .call(written, { deadline: Storage.writeDeadline })
    .pipe(Effect.ensuring(Effect.ignore(io(() => rm(partial, { force: true })))))
  if (!isKept) return yield* new BlobCorrupt({ key: sha256 })
})

const ensureRoom = (disk: Disk, sizeBytes: number) =>
  disk.call(io(() => statfs(disk.root))).pipe(
    Effect.flatMap(({ bavail, bsize }) =>
      bavail * bsize - sizeBytes >= disk.freeBytesMin
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
const writeAll = <E>(path: string, content: Stream.Stream<Uint8Array, E>) =>
  Effect.acquireUseRelease(
    io(() => open(path, "wx", 0o600)),
    (file) =>
      Effect.gen(function* () {
        const hash = createHash("sha256")
        yield* Stream.runForEach(content, (chunk) =>
          io(async () => {
            hash.update(chunk)
            await writeChunk(file, chunk)
          })
        )
        yield* io(() => file.sync())
        return hash.digest("hex")
      }),
    (file) => Effect.ignore(io(() => file.close()))
  )

const writeChunk = async (file: FileHandle, chunk: Uint8Array): Promise<void> => {
  let written = 0
  while (written < chunk.length) written += (await file.write(chunk, written, chunk.length - written)).bytesWritten
}

/** Puts a finished file under its name and flushes the folders that lead to it. */
const settle = (disk: Disk, sha256: Sha256, place: (path: string) => Promise<unknown>) =>
  io(async () => {
    const path = pathOf(disk, sha256)
    const isNewFolder = (await mkdir(dirname(path), { recursive: true, mode: 0o700 })) !== undefined
    await place(path)
    await syncFolder(dirname(path))
    if (isNewFolder) await syncFolder(disk.root)
  })

const syncFolder = async (path: string): Promise<void> => {
  const folder = await open(path, "r")
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

const read = (disk: Disk, sha256: Sha256, range?: ByteRange) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const file = yield* Effect.acquireRelease(
        Effect.flatMap(disk.call(ioIfThere(() => open(pathOf(disk, sha256), "r"))), (opened) =>
          foundOr(sha256, opened)
        ),
        (opened) => Effect.ignore(deadline(Storage.operationDeadline)(io(() => opened.close())))
      )
      const start = range?.start ?? 0
      const end = range === undefined ? Number.MAX_SAFE_INTEGER : range.end + 1
      return readChunks({ disk, sha256, file, end, hash: range === undefined ? createHash("sha256") : null }, start)
    })
  )

interface Reading {
  readonly disk: Disk
  readonly sha256: Sha256
  readonly file: FileHandle
  /** Exclusive. */
  readonly end: number
  /** Present when the whole content is read and can be checked. */
  readonly hash: Hash | null
}

const readChunks = (reading: Reading, start: number) =>
  Stream.unfold(start, (position) =>
    Effect.gen(function* () {
      const lengthMax = Math.min(ByteSize.toNumberUnsafe(Storage.readChunkBytes), reading.end - position)
      if (lengthMax <= 0) return undefined
      const chunk = new Uint8Array(lengthMax)
      const { bytesRead } = yield* reading.disk.call(io(() => reading.file.read(chunk, 0, lengthMax, position)))
      if (bytesRead === 0) return yield* ended(reading)
      const filled = chunk.subarray(0, bytesRead)
      reading.hash?.update(filled)
      return [filled, position + bytesRead] as const
    })
  )

/** A part may end early only because it was asked beyond the end. */
const ended = ({ hash, sha256 }: Reading): Effect.Effect<undefined, BlobCorrupt> =>
  hash === null || hash.digest("hex") === sha256
    ? Effect.succeed(undefined)
    : Effect.fail(new BlobCorrupt({ key: sha256 }))

const intakeOf = (disk: Disk): Intake["Service"] => ({
  hasRoomFor: (sizeBytes) => ensureRoom(disk, sizeBytes),
  take: Effect.fn("Intake.take")((path, sha256) => disk.call(settle(disk, sha256, linkOrRenew(path))))
})

/** The same bytes may be there already, and a sweep may be about to remove them: their life starts anew, or they are added again. */
const linkOrRenew =
  (path: string) =>
  async (target: string): Promise<void> => {
    await touch(path)
    try {
      await link(path, target)
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error
      await touch(target).catch(async (missing) => {
        if (codeOf(missing) !== "ENOENT") throw missing
        await link(path, target)
      })
    }
  }

/** The time by the disk's clock; every process that shares the disk may have a wrong one of its own. */
const touch = async (path: string): Promise<Date> => {
  await chmod(path, 0o600)
  const { ctime } = await stat(path)
  await utimes(path, ctime, ctime)
  return ctime
}

const sweepOf = (disk: Disk, lifetime: Duration.Duration | null) =>
  Effect.gen(function* () {
    const nowMs = yield* disk.call(io(() => diskNowMs(disk.root)))
    const leftovers = yield* listed(disk, "partial")
    let count = 0
    for (const name of leftovers) {
      count += yield* removeOld(disk, join("partial", name), nowMs - Duration.toMillis(Storage.leftoverLifetime))
    }
    if (lifetime === null) return count
    for (const folder of yield* listed(disk, "")) {
      if (!/^[0-9a-f]{2}$/.test(folder)) continue
      for (const name of yield* listed(disk, folder)) {
        count += yield* removeOld(disk, join(folder, name), nowMs - Duration.toMillis(lifetime))
      }
    }
    return count
  })

const listed = (disk: Disk, folder: string) =>
  Effect.map(
    disk.call(io(() => readdir(join(disk.root, folder), { withFileTypes: true }))),
    (entries: ReadonlyArray<Dirent>) => entries.map((entry) => entry.name)
  )

/** Renamed first and looked at again, so that content which arrives anew in this very moment is put back. */
const removeOld = (disk: Disk, name: string, olderThanMs: number) =>
  disk.call(
    io(async () => {
      const path = join(disk.root, name)
      if (!(await isOlder(path, olderThanMs))) return 0
      const doomed = join(disk.root, "partial", randomUUID())
      await rename(path, doomed)
      if (await isOlder(doomed, olderThanMs)) {
        await rm(doomed, { force: true })
        return 1
      }
      await link(doomed, path).catch((error) => {
        if (codeOf(error) !== "EEXIST") throw error
      })
      await rm(doomed, { force: true })
      return 0
    })
  )

const isOlder = async (path: string, thanMs: number): Promise<boolean> => {
  try {
    return (await stat(path)).mtimeMs < thanMs
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false
    throw error
  }
}
