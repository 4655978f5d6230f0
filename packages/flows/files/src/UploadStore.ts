// The tus file store, made durable: every offset that it tells is on the disk, a description is replaced as a whole or not at all, and
// the SHA-256 runs along while bytes arrive (after a restart it is taken from the disk at the end). Where a flush fails, the kernel has
// forgotten which bytes are missing, and another flush would prove nothing: the upload goes back to the last offset that was told, and its
// owner sends the rest again. A completed upload keeps answering for its offset, so a client that missed the last answer learns that it
// is done. It gives no bytes back to anybody.
import { createHash, type Hash } from "node:crypto"
import { createReadStream } from "node:fs"
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { Files, Storage } from "@holdfast/resilience/Limits"
import { diskNowMs } from "@holdfast/storage/DiskClock"
import { FileStore } from "@tus/file-store"
import { ERRORS, Upload } from "@tus/server"
import { ByteSize, Duration, Result, Schema } from "effect"
import { isMissing, refusalOfDisk, within, writeWhole } from "./DiskTrouble.ts"

export interface UploadStoreOptions {
  readonly folder: string
  /** Waits until the owner may send so many bytes more. */
  readonly pass: (ownerId: PrincipalId, sizeBytes: number) => Promise<void>
  /** An upload is gone: it expired, was deleted, or never came to be. */
  readonly onRemoved: (id: string) => void
  /** How long the disk may take for a batch or a flush; `Storage.flushDeadline` unless told. */
  readonly flushDeadline?: Duration.Duration
}

/** The hash of the first so many bytes of an upload. */
interface RunningHash {
  readonly hash: Hash
  readonly sizeBytes: number
}

export class UploadStore extends FileStore {
  readonly #folder: string
  readonly #pass: UploadStoreOptions["pass"]
  readonly #records: UploadRecords
  readonly #onRemoved: UploadStoreOptions["onRemoved"]
  readonly #flushDeadline: Duration.Duration
  readonly #running = new Map<string, RunningHash>()
  /** How many bytes of an upload are certainly on the disk. */
  readonly #durable = new Map<string, number>()
  /** A flush failed; only so many bytes count, and the rest must go before anything is told. */
  readonly #doubted = new Map<string, number>()
  readonly #settling = new Map<string, Promise<number | null>>()

  constructor({ flushDeadline = Storage.flushDeadline, folder, onRemoved, pass }: UploadStoreOptions) {
    const records = new UploadRecords(folder)
    const expirationPeriodInMilliseconds = Duration.toMillis(Files.uploadLifetime)
    super({ directory: folder, configstore: records, expirationPeriodInMilliseconds })
    this.#folder = folder
    this.#pass = pass
    this.#onRemoved = onRemoved
    this.#flushDeadline = flushDeadline
    this.#records = records
    this.extensions = ["creation", "creation-with-upload", "termination", "expiration"]
  }

  override async create(upload: Upload): Promise<Upload> {
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 })
      upload.creation_date ??= new Date().toISOString()
      await writeFile(this.pathOf(upload.id), "", { mode: 0o600, flag: "wx" })
      await this.#records.set(upload.id, upload)
      return upload
    } catch (error) {
      await this.remove(upload.id).catch(() => {})
      throw refusalOfDisk(error)
    }
  }

  override async write(readable: Chunks, id: string, offset: number): Promise<number> {
    const owner = decodeOwner((await this.#records.get(id))?.metadata?.ownerId)
    if (Result.isFailure(owner)) throw ERRORS.FILE_NOT_FOUND
    const file = await open(this.pathOf(id), "r+").catch((error) => Promise.reject(refusalOfDisk(error)))
    const writer = new BatchWriter(file, offset, this.#hashAt(id, offset), this.#flushDeadline)
    const received = receive(readable, writer, (sizeBytes) => this.#pass(owner.success, sizeBytes))
    const failure = await received.then(
      () => null,
      (error) => ({ error })
    )
    await this.#flush(id, file, offset)
    const running = writer.runningHash()
    if (running !== null) this.#remember(id, running)
    if (failure !== null) throw refusalOfDisk(failure.error)
    return writer.sizeBytes
  }

  /**
   * Also after a failure: what did arrive counts, once it is on the disk. What may be missing goes at once, before another gateway on this
   * disk can believe it; where nobody remembers what was told, it stays, and is not told until a flush succeeds.
   */
  async #flush(id: string, file: FileHandle, toldBytes: number | null): Promise<void> {
    const flushed = file.datasync().then(
      () => file.stat(),
      async (error) => {
        if (toldBytes !== null) await file.truncate(toldBytes)
        throw error
      }
    )
    try {
      const { size } = await within(this.#flushDeadline, flushed)
      this.#durable.set(id, size)
    } catch (error) {
      if (toldBytes !== null) this.#doubted.set(id, toldBytes)
      throw refusalOfDisk(error)
    } finally {
      // A disk that hangs is not waited for.
      void flushed.catch(() => {}).then(() => file.close())
    }
  }

  /** A hash that runs along from the first byte; null when the beginning was received by somebody else. */
  #hashAt(id: string, offset: number): Hash | null {
    if (offset === 0) return createHash("sha256")
    const running = this.#running.get(id)
    this.#running.delete(id)
    return running?.sizeBytes === offset ? running.hash : null
  }

  #remember(id: string, running: RunningHash): void {
    this.#running.set(id, running)
    const oldest = this.#running.size > Files.openUploadsMax ? this.#running.keys().next().value : undefined
    if (oldest !== undefined) this.#running.delete(oldest)
  }

  override async getUpload(id: string): Promise<Upload> {
    const record = await this.#records.get(id)
    if (record === undefined) throw ERRORS.FILE_NOT_FOUND
    const settled = await this.#settle(id).catch((error) => Promise.reject(refusalOfDisk(error)))
    if (settled === null) throw ERRORS.FILE_NO_LONGER_EXISTS
    // The library measures from here to its own now; by the disk's clock it is the last byte that counts.
    record.creation_date = new Date(Date.now() - (await this.idleMs(id))).toISOString()
    return uploadOf(record, settled)
  }

  /** As it is described, with the bytes that are there, on the disk or not yet; nothing is told of them to anybody. */
  async describe(id: string): Promise<Upload> {
    const record = await this.#records.get(id)
    const sizeBytes = record === undefined ? null : await this.#sizeOf(id)
    if (record === undefined || sizeBytes === null) throw ERRORS.FILE_NOT_FOUND
    return uploadOf(record, sizeBytes)
  }

  /** Since its last byte came, by the disk's clock. */
  async idleMs(id: string): Promise<number> {
    const isOpen = (await sizeOf(this.pathOf(id))) !== null
    const { mtimeMs } = await stat(isOpen ? this.pathOf(id) : this.#donePath(id))
    return Math.max(0, (await this.nowMs()) - mtimeMs)
  }

  /** A disk that takes no writes tells no time; then nothing grows old. */
  async nowMs(): Promise<number> {
    return diskNowMs(this.#folder).catch(() => Number.NEGATIVE_INFINITY)
  }

  /** How many bytes are on the disk for certain; null when its bytes are gone. One at a time for each upload. */
  #settle(id: string): Promise<number | null> {
    const underWay = this.#settling.get(id) ?? this.#settleOnce(id).finally(() => this.#settling.delete(id))
    this.#settling.set(id, underWay)
    return underWay
  }

  async #settleOnce(id: string): Promise<number | null> {
    const sizeBytes = await sizeOf(this.pathOf(id))
    if (sizeBytes === null) return sizeOf(this.#donePath(id))
    const trustedBytes = this.#doubted.get(id)
    if (trustedBytes === undefined && this.#durable.get(id) === sizeBytes) return sizeBytes
    const file = await open(this.pathOf(id), "r+")
    if (trustedBytes === undefined) {
      await this.#flush(id, file, this.#durable.get(id) ?? null)
      return sizeBytes
    }
    this.#running.delete(id)
    await file.truncate(Math.min(trustedBytes, sizeBytes))
    await this.#flush(id, file, trustedBytes)
    this.#doubted.delete(id)
    return Math.min(trustedBytes, sizeBytes)
  }

  async #sizeOf(id: string): Promise<number | null> {
    return (await sizeOf(this.pathOf(id))) ?? (await sizeOf(this.#donePath(id)))
  }

  override read(): never {
    throw ERRORS.FILE_NOT_FOUND
  }

  override async remove(id: string): Promise<void> {
    for (const known of [this.#running, this.#durable, this.#doubted]) known.delete(id)
    this.#onRemoved(id)
    await rm(this.pathOf(id), { force: true })
    await rm(this.#donePath(id), { force: true })
    await this.#records.delete(id)
  }

  pathOf(id: string): string {
    return join(this.#folder, id)
  }

  #donePath(id: string): string {
    return join(this.#folder, `${id}.done`)
  }

  async sha256Of(id: string, sizeBytes: number): Promise<Sha256> {
    const running = this.#running.get(id)
    this.#running.delete(id)
    const hash = running?.sizeBytes === sizeBytes ? running.hash : await hashFile(this.pathOf(id))
    return Sha256.make(hash.digest("hex"))
  }

  /** From here on the upload only answers for its offset. */
  async markDone(id: string): Promise<void> {
    await rename(this.pathOf(id), this.#donePath(id))
    this.#durable.delete(id)
  }

  async isDone(id: string): Promise<boolean> {
    return (await sizeOf(this.#donePath(id))) !== null
  }

  /** Every upload that is described here, finished ones too. */
  async list(): Promise<ReadonlyArray<FileId>> {
    const ids = (await this.#records.list()).map((id) => decodeId(id))
    return ids.filter(Result.isSuccess).map(({ success }) => success)
  }

  /** What is gone from view: files that no description belongs to, and half-written descriptions. Their number. */
  async removeStrays(olderThanMs: number): Promise<number> {
    const names = await readdir(this.#folder)
    const described = new Set(await this.#records.list())
    const strays = names.filter((name) => !name.endsWith(".json") && !described.has(name.replace(/\.done$/, "")))
    let count = 0
    for (const name of strays) {
      const path = join(this.#folder, name)
      const { mtimeMs } = await stat(path)
      if (mtimeMs >= olderThanMs) continue
      await rm(path, { force: true })
      count++
    }
    return count
  }
}

const decodeId = Schema.decodeUnknownResult(FileId)
const decodeOwner = Schema.decodeUnknownResult(PrincipalId)

const uploadOf = (record: Upload, offset: number): Upload =>
  new Upload({
    id: record.id,
    offset,
    ...(record.size === undefined ? {} : { size: record.size }),
    ...(record.metadata === undefined ? {} : { metadata: record.metadata }),
    ...(record.creation_date === undefined ? {} : { creation_date: record.creation_date })
  })

type Chunks = Parameters<FileStore["write"]>[0]

/** What arrived is kept, also when the sender breaks off. */
const receive = async (chunks: Chunks, writer: BatchWriter, pass: (sizeBytes: number) => Promise<void>) => {
  try {
    for await (const chunk of chunks) {
      if (!writer.add(chunk)) continue
      await pass(writer.heldBytes)
      await writer.flush()
    }
  } finally {
    await writer.finish()
  }
}

/** Few large writes instead of many small ones; one is under way while the next is gathered and hashed. */
class BatchWriter {
  readonly #file: FileHandle
  readonly #hash: Hash | null
  readonly #deadline: Duration.Duration
  #held: Array<Uint8Array> = []
  #underWay: Promise<void> = Promise.resolve()
  #isWhole = false
  heldBytes = 0
  /** Of the upload, with what is being written. */
  sizeBytes: number

  constructor(file: FileHandle, offset: number, hash: Hash | null, deadline: Duration.Duration) {
    this.#file = file
    this.#hash = hash
    this.#deadline = deadline
    this.sizeBytes = offset
  }

  /** Whether it is time to flush. */
  add(chunk: Uint8Array): boolean {
    this.#held.push(chunk)
    this.heldBytes += chunk.length
    return this.heldBytes >= ByteSize.toNumberUnsafe(Files.writeBatchBytes)
  }

  async flush(): Promise<void> {
    const [held, position] = [this.#held, this.sizeBytes]
    for (const chunk of held) this.#hash?.update(chunk)
    await this.#underWay
    this.#underWay = within(this.#deadline, writeAll(this.#file, held, position))
    // Awaited by the next flush; a failure must not count as nobody's until then.
    this.#underWay.catch(() => {})
    this.sizeBytes = position + this.heldBytes
    this.#held = []
    this.heldBytes = 0
  }

  async finish(): Promise<void> {
    await this.flush()
    await this.#underWay
    this.#isWhole = true
  }

  /** Null when the hash and the disk may differ. */
  runningHash(): RunningHash | null {
    return this.#isWhole && this.#hash !== null ? { hash: this.#hash, sizeBytes: this.sizeBytes } : null
  }
}

const writeAll = async (file: FileHandle, chunks: ReadonlyArray<Uint8Array>, position: number): Promise<void> => {
  let rest = [...chunks]
  let at = position
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest, at)
    at += bytesWritten
    rest = without(rest, bytesWritten)
  }
}

const without = (chunks: ReadonlyArray<Uint8Array>, sizeBytes: number): Array<Uint8Array> => {
  let left = sizeBytes
  return chunks.flatMap((chunk) => {
    const rest = chunk.subarray(Math.min(left, chunk.length))
    left -= chunk.length - rest.length
    return rest.length === 0 ? [] : [rest]
  })
}

const hashFile = async (path: string): Promise<Hash> => {
  const file = await open(path, "r")
  try {
    await file.datasync()
  } finally {
    await file.close()
  }
  const hash = createHash("sha256")
  for await (const chunk of createReadStream(path)) hash.update(chunk)
  return hash
}

const sizeOf = (path: string): Promise<number | null> => stat(path).then(({ size }) => size, whenMissing(null))

const whenMissing =
  <A>(instead: A) =>
  (error: unknown): A => {
    if (isMissing(error)) return instead
    throw error
  }

const Description = Schema.fromJsonString(
  Schema.Struct({
    id: FileId,
    size: Schema.Natural,
    metadata: Schema.Record(Schema.String, Schema.NullOr(Schema.String)),
    creation_date: Schema.String
  })
)
const decodeRecord = Schema.decodeUnknownResult(Description)

/** The descriptions, one JSON file each. The library calls this its config store. */
class UploadRecords {
  readonly #folder: string
  constructor(folder: string) {
    this.#folder = folder
  }

  /** Undefined also for what is not an upload's id: no path is ever made of it. */
  async get(id: string): Promise<Upload | undefined> {
    if (Result.isFailure(decodeId(id))) return undefined
    try {
      const record = decodeRecord(await readFile(this.#pathOf(id), "utf8"))
      return Result.isSuccess(record) ? new Upload({ ...record.success, offset: 0 }) : undefined
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async set(id: string, { creation_date, metadata, size }: Upload): Promise<void> {
    await writeWhole(this.#pathOf(id), JSON.stringify({ id, size, metadata, creation_date }))
  }

  async delete(id: string): Promise<void> {
    await rm(this.#pathOf(id), { force: true })
  }

  async list(): Promise<Array<string>> {
    try {
      return (await readdir(this.#folder))
        .filter((name) => name.endsWith(".json"))
        .map((name) => name.slice(0, -".json".length))
    } catch (error) {
      if (isMissing(error)) return []
      throw error
    }
  }

  #pathOf(id: string): string {
    return join(this.#folder, `${id}.json`)
  }
}
