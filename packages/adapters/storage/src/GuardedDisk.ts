// A folder on a disk as content is kept in it, and its guard. The disk's own failures (full, read error, hung) become `Unavailable`; only those by
// which it cannot be read either open the breaker, so a full disk goes on giving what it has. Only the codes of its errors travel.
import { dirname, join } from "node:path"
import { type Guard, makeGuard } from "@holdfast/resilience/Guard"
import { Storage } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { ByteSize, Data, Duration, Effect } from "effect"
import { type Damage, makeDamage } from "./Damage.ts"
import { type DiskFiles, nodeFiles } from "./DiskFiles.ts"

export interface DiskOptions {
  readonly root: string
  /** Never fill the disk further than to this; `Storage.freeBytesMin` unless told. */
  readonly freeBytesMin?: number
  /** This machine's, unless told. */
  readonly files?: DiskFiles
}

export interface Disk {
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

export const makeDisk = Effect.fnUntraced(function* ({ files = nodeFiles, freeBytesMin, root }: DiskOptions) {
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
export const partials = "partial"
export const removals = "removing"
export const withdrawals = "withdrawn"

export const io = <A>(run: () => Promise<A>): Effect.Effect<A, DiskError> =>
  Effect.tryPromise({ try: run, catch: (error) => new DiskError({ code: codeOf(error) }) })

/** Null where there is no such file. */
export const ioIfThere = <A>(run: () => Promise<A>): Effect.Effect<A | null, DiskError> =>
  Effect.catch(io(run), (error) => (error.code === "ENOENT" ? Effect.succeed(null) : Effect.fail(error)))

export const codeOf = (error: unknown): string =>
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

export const pathOf = (disk: Disk, sha256: string): string => join(disk.root, sha256.slice(0, 2), sha256)

export const nullIfThere = (error: unknown): null => {
  if (codeOf(error) === "EEXIST") return null
  throw error
}

interface Aged<Name extends string = string> {
  readonly name: Name
  readonly sizeBytes: number
  readonly ageMs: number
}

export const agesIn = async (disk: Disk, folder: string): Promise<ReadonlyArray<Aged>> =>
  about(disk, folder, await disk.files.names(join(disk.root, folder)).catch(emptyIfMissing))

/** What vanishes meanwhile is left out. */
export const about = async <Name extends string>({ files, root }: Disk, folder: string, names: ReadonlyArray<Name>) => {
  const nowMs = await files.nowMs(root)
  const found: Array<Aged<Name>> = []
  for (const name of names) {
    const stat = await files.stat(join(root, folder, name)).catch(nullIfMissing)
    if (stat !== null) found.push({ name, sizeBytes: stat.size, ageMs: nowMs - stat.mtimeMs })
  }
  return found
}

export const nullIfMissing = (error: unknown): null => {
  if (codeOf(error) === "ENOENT") return null
  throw error
}
export const emptyIfMissing = (error: unknown): ReadonlyArray<string> => nullIfMissing(error) ?? []
