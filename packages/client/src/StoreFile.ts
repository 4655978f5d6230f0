// An outbox in a folder: an append-only log, each line a write with its checksum, on the disk (fdatasync) before the write counts. Writes that
// come together share one flush. A last line that a crash tore is no write and is cut off; a bad line with good ones after it is not
// a crash's doing, so the store refuses to open rather than lose what it cannot read. The lock is SQLite's on a file beside the log: the
// kernel frees it with the process, however that ends. Node only.
import { type FileHandle, mkdir, open, readFile, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { crc32 } from "node:zlib"
import { Result, Schema } from "effect"
import { Outbox } from "./Limits.ts"
import { applyChanges, type Change, inKeyOrder, type Store, StoreUnavailable } from "./Store.ts"

export const fileStore = (folder: string): Store => new FileStore(folder)

interface Waiting {
  readonly changes: ReadonlyArray<Change>
  readonly done: PromiseWithResolvers<void>
}

class FileStore implements Store {
  readonly #folder: string
  #lock: DatabaseSync | null = null
  #log: FileHandle | null = null
  #logBytes = 0
  /** The log may hold what was not written whole: it is written anew before anything else. */
  #isSound = true
  readonly #kept = new Map<string, string>()
  #waiting: Array<Waiting> = []
  #flushing: Promise<void> | null = null

  constructor(folder: string) {
    this.#folder = folder
  }

  get #path(): string {
    return join(this.#folder, "outbox.log")
  }

  async open(): Promise<ReadonlyMap<string, string>> {
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 })
      this.#lock = takeLock(join(this.#folder, "outbox.lock"))
      // Left by a crash while the log was written anew.
      await rm(`${this.#path}.new`, { force: true })
      const { bytes, writes } = readLog(await contentOf(this.#path))
      for (const changes of writes) applyChanges(this.#kept, changes)
      this.#log = await open(this.#path, "a", 0o600)
      await this.#log.truncate(bytes)
      await this.#log.datasync()
      await syncFolder(this.#folder)
      this.#logBytes = bytes
      return inKeyOrder(this.#kept)
    } catch (error) {
      await this.#release()
      throw asUnavailable(error)
    }
  }

  write(changes: ReadonlyArray<Change>): Promise<void> {
    if (this.#log === null) return Promise.reject(new StoreUnavailable({ reason: "failed", detail: "it is not open" }))
    const done = Promise.withResolvers<void>()
    this.#waiting.push({ changes, done })
    this.#flushing ??= this.#flushAll()
    return done.promise
  }

  async close(): Promise<void> {
    await this.#flushing
    await this.#release()
  }

  async #release(): Promise<void> {
    const [log, lock] = [this.#log, this.#lock]
    this.#log = null
    this.#lock = null
    await log?.close()
    lock?.close()
  }

  async #flushAll(): Promise<void> {
    // The callers of this turn of the event loop share the flush.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        await this.#append(batch)
        for (const { done } of batch) done.resolve()
      } catch (error) {
        this.#isSound = false
        for (const { done } of batch) done.reject(asUnavailable(error))
      }
    }
    // In the turn in which nothing waited: whoever writes next begins anew.
    this.#flushing = null
  }

  async #append(batch: ReadonlyArray<Waiting>): Promise<void> {
    if (!this.#isSound) await this.#rewrite()
    const lines = Buffer.concat(batch.map(({ changes }) => lineOf(changes)))
    await this.#log?.appendFile(lines)
    await this.#log?.datasync()
    this.#logBytes += lines.length
    for (const { changes } of batch) applyChanges(this.#kept, changes)
    // What was just written counts already; tidying up may fail on its own.
    if (this.#logBytes > Outbox.logWasteBytesMax + 2 * this.#keptBytes()) {
      await this.#rewrite().catch(() => {
        this.#isSound = false
      })
    }
  }

  #keptBytes(): number {
    let bytes = 0
    for (const [key, text] of this.#kept) bytes += key.length + text.length
    return bytes
  }

  /** A new log with what is kept takes the old one's place as a whole. */
  async #rewrite(): Promise<void> {
    const lines = Buffer.concat([...this.#kept].map((entry) => lineOf([entry])))
    const log = await open(`${this.#path}.new`, "w", 0o600)
    try {
      await log.writeFile(lines)
      await log.datasync()
      await rename(`${this.#path}.new`, this.#path)
      await syncFolder(this.#folder)
    } finally {
      await log.close()
    }
    await this.#log?.close()
    this.#log = await open(this.#path, "a", 0o600)
    this.#logBytes = lines.length
    this.#isSound = true
  }
}

const takeLock = (path: string): DatabaseSync => {
  const lock = new DatabaseSync(path)
  try {
    lock.exec("PRAGMA busy_timeout = 0; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
    return lock
  } catch (error) {
    lock.close()
    throw new StoreUnavailable({ reason: "locked", detail: `another process has ${path}: ${String(error)}` })
  }
}

const contentOf = async (path: string): Promise<Buffer> => {
  try {
    return await readFile(path)
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return Buffer.alloc(0)
    throw error
  }
}

/** A file's name is on the disk only once its folder is. */
const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const lineOf = (changes: ReadonlyArray<Change>): Buffer => {
  const json = JSON.stringify(changes)
  return Buffer.from(`${checksumOf(json)} ${json}\n`)
}

const checksumOf = (json: string): string => crc32(json).toString(16).padStart(8, "0")

const Changes = Schema.fromJsonString(Schema.Array(Schema.Tuple([Schema.String, Schema.NullOr(Schema.String)])))
const decodeChanges = Schema.decodeUnknownResult(Changes)

/** The writes, and how many bytes of the log they are. */
const readLog = (content: Buffer) => {
  const writes: Array<ReadonlyArray<Change>> = []
  let bytes = 0
  let tornAt: number | null = null
  for (let from = 0; from < content.length; ) {
    const end = content.indexOf(0x0a, from)
    const changes = end < 0 ? null : readLine(content.toString("utf8", from, end))
    if (changes === null) tornAt ??= from
    else if (tornAt !== null) throw damaged(tornAt)
    else writes.push(changes)
    from = end < 0 ? content.length : end + 1
    if (tornAt === null) bytes = from
  }
  return { writes, bytes }
}

const readLine = (line: string): ReadonlyArray<Change> | null => {
  const json = line.slice(9)
  if (line.slice(0, 9) !== `${checksumOf(json)} `) return null
  const changes = decodeChanges(json)
  return Result.isSuccess(changes) ? changes.success : null
}

const damaged = (at: number) =>
  new StoreUnavailable({ reason: "damaged", detail: `the log cannot be read at byte ${at}, and goes on after it` })

const asUnavailable = (error: unknown): StoreUnavailable =>
  error instanceof StoreUnavailable
    ? error
    : new StoreUnavailable({ reason: "failed", detail: error instanceof Error ? error.message : String(error) })
