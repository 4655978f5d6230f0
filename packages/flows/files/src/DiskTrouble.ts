// What the disk's own troubles mean to somebody who uploads: full or unwilling is 507, failing or hanging is 503, and both say that what was
// acknowledged is kept. Writing a small file as a whole belongs here, because what is left of a failed attempt would fill the disk further.
import { randomUUID } from "node:crypto"
import { open, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { Storage } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Duration } from "effect"
import { tusRefusal } from "./Problem.ts"

export const isMissing = (error: unknown): boolean => codeOf(error) === "ENOENT"

/** Of the disk itself, or as SQLite tells it, whose numbers have details above their lowest byte. */
const codeOf = (error: unknown): unknown => {
  if (!(error instanceof Error)) return undefined
  if ("errcode" in error && typeof error.errcode === "number") return error.errcode & 0xff
  return "code" in error ? error.code : undefined
}

const sqlite = { readOnly: 8, ioError: 10, full: 13, cannotOpen: 14 }
const refusing = ["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM"]
const unwilling = new Set<unknown>([...refusing, sqlite.full, sqlite.readOnly, sqlite.cannotOpen])
const broken = ["EIO", "ENXIO", "ENODEV", "ESTALE", "EUCLEAN", "EMFILE", "ENFILE", "ETIMEDOUT"]
const failing = new Set<unknown>([...broken, sqlite.ioError])

/** The disk is there and takes no writes; it may be read. */
export const isUnwilling = (error: unknown): boolean => unwilling.has(codeOf(error))

/** The refusal that the disk's error means; any other error is somebody else's and stays what it is. */
export const refusalOfDisk = (error: unknown): unknown => {
  if (isUnwilling(error)) return diskFull
  return failing.has(codeOf(error)) ? diskAway(Duration.toMillis(Storage.retryDelay)) : error
}

/** The same for an error of the storage adapter. */
export const refusalOfStorage = ({ reason, retryAfterMs }: Unavailable) =>
  reason === "refused" ? diskFull : diskAway(retryAfterMs)

const diskFull = tusRefusal({
  status: 507,
  tag: "StorageFull",
  title: "The disk is full or takes nothing more just now; what was acknowledged is kept. Resume the upload later."
})

const diskAway = (retryAfterMs: number) =>
  tusRefusal({
    status: 503,
    tag: "StorageUnavailable",
    title: "The disk does not answer as it should; what was acknowledged is kept. Resume the upload.",
    fields: { retryAfterMs }
  })

/** Fails as a disk does that does not answer; the work itself cannot be called back and ends when it ends. */
export const within = <A>(duration: Duration.Duration, work: Promise<A>): Promise<A> =>
  new Promise((resolve, reject) => {
    const late = () => reject(Object.assign(new Error("the disk did not answer in time"), { code: "ETIMEDOUT" }))
    const timer = setTimeout(late, Duration.toMillis(duration))
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })

/** The file is there as a whole or as it was before, on the disk, folder and all. */
export const writeWhole = async (path: string, text: string): Promise<void> => {
  const partial = join(dirname(path), `${randomUUID()}.partial`)
  try {
    await writeFlushed(partial, text)
    await rename(partial, path)
    await syncFolder(dirname(path))
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {})
    throw error
  }
}

const writeFlushed = async (path: string, text: string): Promise<void> => {
  const file = await open(path, "wx", 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
}

export const syncFolder = async (path: string): Promise<void> => {
  const folder = await open(path, "r")
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
