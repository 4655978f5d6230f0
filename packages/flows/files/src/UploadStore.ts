// The bytes of uploads, made durable: every offset that is told is on the disk, and the SHA-256 runs along while bytes arrive (after a restart
// it is taken from the disk at the end). Where a flush fails, the kernel has forgotten which bytes are missing, and another flush would prove
// nothing: the upload goes back to the last offset that was told, and its owner sends the rest again. Bytes that came with a checksum count
// only once it is right: until then a mark on the disk says where they begin, whoever looks, also after a crash. A completed upload keeps
// answering for its offset, so a client that missed the last answer learns that it is done. It gives no bytes back to anybody.
import { createHash, type Hash } from "node:crypto"
import { createReadStream } from "node:fs"
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { type FileId, Sha256 } from "@holdfast/contracts/Ids"
import { Files, Storage } from "@holdfast/resilience/Limits"
import { diskNowMs } from "@holdfast/storage/DiskClock"
import type { Duration } from "effect"
import { BatchWriter, type RunningHash } from "./BatchWriter.ts"
import { isMissing, refusalOfDisk, syncFolder, within, writeWhole } from "./DiskTrouble.ts"
import { type Problem, tusRefusal } from "./Problem.ts"
import { type Received, receiveBody } from "./ReceiveBody.ts"
import type { Checksum } from "./tus/HeaderValues.ts"
import { beyondLength } from "./tus/Protocol.ts"
import { type UploadRecord, UploadRecords } from "./UploadRecords.ts"

export interface UploadStoreOptions {
  readonly folder: string
  /** An upload is gone: it expired, was deleted, or never came to be. */
  readonly onRemoved: (id: FileId) => void
  /** How long the disk may take for a batch or a flush; `Storage.flushDeadline` unless told. */
  readonly flushDeadline?: Duration.Duration
}

/** An upload, and how many bytes of it are there. */
export interface Upload {
  readonly record: UploadRecord
  readonly offset: number
}

export const isComplete = ({ offset, record }: Upload): boolean => offset === record.size

/** The bytes of one request. */
export interface Arrival {
  readonly body: Readable
  readonly checksum: Checksum | null
  /** Waits until the owner may send so many bytes more, and how many to ask for at a time. */
  readonly pass: (sizeBytes: number) => Promise<void>
  readonly pieceBytes: number
  /** Somebody else wants the upload. */
  readonly stop: AbortSignal
}

export class UploadStore {
  readonly #folder: string
  readonly #records: UploadRecords
  readonly #onRemoved: UploadStoreOptions["onRemoved"]
  readonly #flushDeadline: Duration.Duration
  readonly #running = new Map<string, RunningHash>()
  /** How many bytes of an upload are certainly on the disk. */
  readonly #durable = new Map<string, number>()
  /** A flush failed; only so many bytes count, and the rest must go before anything is told. */
  readonly #doubted = new Map<string, number>()
  readonly #settling = new Map<string, Promise<number | null>>()

  constructor({ flushDeadline = Storage.flushDeadline, folder, onRemoved }: UploadStoreOptions) {
    this.#folder = folder
    this.#onRemoved = onRemoved
    this.#flushDeadline = flushDeadline
    this.#records = new UploadRecords(folder)
  }

  async create(record: UploadRecord): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 })
      await writeFile(this.pathOf(record.id), "", { mode: 0o600, flag: "wx" })
      await this.#records.set(record)
    } catch (error) {
      await this.remove(record.id).catch(() => {})
      throw refusalOfDisk(error)
    }
  }

  /** Where content that is to be an upload as a whole is prepared; left behind, it is swept. */
  preparingPathOf(id: FileId): string {
    return join(this.#folder, `${id}.preparing`)
  }

  /** A complete upload of what was prepared and flushed; repeated after a crash it ends the same. */
  async createWhole(record: UploadRecord, hash: Hash): Promise<void> {
    await rename(this.preparingPathOf(record.id), this.pathOf(record.id))
    // Flushes the folder, and with it the new name.
    await this.#records.set(record)
    this.#durable.set(record.id, record.size)
    this.#remember(record.id, { hash, sizeBytes: record.size })
  }

  /** Takes what comes and tells how much of the upload there is then; to be called by whoever holds its lock. */
  async append(upload: Upload, arrival: Arrival): Promise<number> {
    const { offset, record } = upload
    const file = await open(this.pathOf(record.id), "r+").catch((error) => Promise.reject(refusalOfDisk(error)))
    const hash = record.part === undefined ? this.#takeHash(record.id, offset) : null
    // What is refused leaves the hash as it was.
    const before = arrival.checksum === null ? null : (hash?.copy() ?? null)
    const { checksum } = arrival
    const beforeUnverified = () => this.#mark(record.id, offset)
    const writer = new BatchWriter({ file, offset, hash, checksum, deadline: this.#flushDeadline, beforeUnverified })
    const { failure, keeps } = await receive(upload, writer, arrival)
    await (keeps ? this.#flush(record.id, file, offset) : this.#discard(record.id, file, writer, offset))
    if (writer.hasUnverified) await this.#unmark(record.id)
    const running = keeps ? writer.runningHash() : before && { hash: before, sizeBytes: offset }
    if (running !== null) this.#remember(record.id, running)
    if (failure !== null) throw refusalOfDisk(failure)
    return writer.writtenBytes
  }

  /** Back to the offset that was told. Where the disk does not let go of the rest, it is not believed. */
  async #discard(id: FileId, file: FileHandle, writer: BatchWriter, offset: number): Promise<void> {
    if (!writer.hasWritten) return file.close()
    try {
      await within(this.#flushDeadline, file.truncate(offset))
    } catch (error) {
      this.#doubted.set(id, offset)
      void file.close().catch(() => {})
      throw refusalOfDisk(error)
    }
    await this.#flush(id, file, offset)
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

  /** From the first byte, or from where this process was before; null when the beginning was received by somebody else. */
  #takeHash(id: string, offset: number): Hash | null {
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

  /** With what is certainly on the disk; undefined when there is none. The lock is held, or the upload is complete. */
  async settled(id: FileId): Promise<Upload | undefined> {
    const record = await this.#records.get(id)
    if (record === undefined) return undefined
    const offset = await this.#settle(id).catch((error) => Promise.reject(refusalOfDisk(error)))
    if (offset === null) throw tusRefusal(expired)
    return { record, offset }
  }

  /** With the bytes that are there, on the disk or not yet; nothing is told of them to anybody. */
  async find(id: FileId): Promise<Upload | undefined> {
    const record = await this.#records.get(id)
    if (record === undefined) return undefined
    const offset = await this.#countedBytes(id)
    return offset === null ? undefined : { record, offset }
  }

  /** Since its last byte came, by the disk's clock. */
  async idleMs(id: FileId): Promise<number> {
    const isOpen = (await sizeOf(this.pathOf(id))) !== null
    const { mtimeMs } = await stat(isOpen ? this.pathOf(id) : this.#donePath(id))
    return Math.max(0, (await this.nowMs()) - mtimeMs)
  }

  /** A disk that takes no writes tells no time; then nothing grows old. */
  async nowMs(): Promise<number> {
    return diskNowMs(this.#folder).catch(() => Number.NEGATIVE_INFINITY)
  }

  /** How many bytes are on the disk for certain; null when its bytes are gone. One at a time for each upload. */
  #settle(id: FileId): Promise<number | null> {
    const underWay = this.#settling.get(id) ?? this.#settleOnce(id).finally(() => this.#settling.delete(id))
    this.#settling.set(id, underWay)
    return underWay
  }

  async #settleOnce(id: FileId): Promise<number | null> {
    const sizeBytes = await sizeOf(this.pathOf(id))
    if (sizeBytes === null) return sizeOf(this.#donePath(id))
    const markedBytes = await this.#markOf(id)
    const trustedBytes = Math.min(this.#doubted.get(id) ?? sizeBytes, markedBytes ?? sizeBytes)
    const isSure = markedBytes === null && !this.#doubted.has(id)
    if (isSure && this.#durable.get(id) === sizeBytes) return sizeBytes
    const file = await open(this.pathOf(id), "r+")
    if (isSure) {
      await this.#flush(id, file, this.#durable.get(id) ?? null)
      return sizeBytes
    }
    this.#running.delete(id)
    await file.truncate(trustedBytes)
    await this.#flush(id, file, trustedBytes)
    this.#doubted.delete(id)
    if (markedBytes !== null) await this.#unmark(id)
    return trustedBytes
  }

  async #countedBytes(id: FileId): Promise<number | null> {
    const sizeBytes = await sizeOf(this.pathOf(id))
    if (sizeBytes === null) return sizeOf(this.#donePath(id))
    return Math.min(sizeBytes, (await this.#markOf(id)) ?? sizeBytes)
  }

  async #mark(id: FileId, verifiedBytes: number): Promise<void> {
    await within(this.#flushDeadline, writeWhole(this.#markPath(id), String(verifiedBytes)))
  }

  /** Gone for good before the offset beyond it is told. */
  async #unmark(id: FileId): Promise<void> {
    const gone = rm(this.#markPath(id), { force: true }).then(() => syncFolder(this.#folder))
    await within(this.#flushDeadline, gone).catch((error) => Promise.reject(refusalOfDisk(error)))
  }

  /** How many bytes are verified, where others are there that are not. */
  async #markOf(id: FileId): Promise<number | null> {
    const text = await readFile(this.#markPath(id), "utf8").catch(whenMissing(null))
    return text === null ? null : Number.parseInt(text, 10) || 0
  }

  async remove(id: FileId): Promise<void> {
    for (const known of [this.#running, this.#durable, this.#doubted]) known.delete(id)
    this.#onRemoved(id)
    for (const path of [this.pathOf(id), this.#donePath(id), this.#markPath(id)]) await rm(path, { force: true })
    await this.#records.delete(id)
  }

  pathOf(id: FileId): string {
    return join(this.#folder, id)
  }

  #donePath(id: FileId): string {
    return join(this.#folder, `${id}.done`)
  }

  #markPath(id: FileId): string {
    return join(this.#folder, `${id}.unverified`)
  }

  async sha256Of(id: FileId, sizeBytes: number): Promise<Sha256> {
    const running = this.#running.get(id)
    this.#running.delete(id)
    const hash = running?.sizeBytes === sizeBytes ? running.hash : await hashFile(this.pathOf(id))
    return Sha256.make(hash.digest("hex"))
  }

  /** From here on the upload only answers for its offset. */
  async markDone(id: FileId): Promise<void> {
    await rename(this.pathOf(id), this.#donePath(id))
    this.#durable.delete(id)
  }

  async isDone(id: FileId): Promise<boolean> {
    return (await sizeOf(this.#donePath(id))) !== null
  }

  /** Every upload that is described here, finished ones too. */
  list(): Promise<ReadonlyArray<FileId>> {
    return this.#records.list()
  }

  /** What is gone from view: files that no description belongs to, and half-written descriptions. Their number. */
  async removeStrays(olderThanMs: number): Promise<number> {
    const names = await readdir(this.#folder)
    const described = new Set<string>(await this.#records.list())
    const strays = names.filter(
      (name) => !name.endsWith(".json") && !described.has(name.replace(/\.(done|unverified)$/, ""))
    )
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

/** What becomes of the bytes of a request. */
interface Verdict {
  readonly keeps: boolean
  readonly failure: unknown
}

/** What arrived is kept, also when the sender breaks off; all of it or nothing where there is a checksum. */
const receive = async (upload: Upload, writer: BatchWriter, arrival: Arrival): Promise<Verdict> => {
  const isChecked = arrival.checksum !== null
  try {
    const verdict = judge(await receiveWithin(upload.record.size, writer, arrival), writer, isChecked)
    await (verdict.keeps ? writer.finish() : writer.abandon())
    return verdict
  } catch (failure) {
    await writer.abandon()
    return { keeps: !isChecked, failure }
  }
}

const judge = (how: Received | "tooLong", writer: BatchWriter, isChecked: boolean): Verdict => {
  if (how === "tooLong") return { keeps: false, failure: tusRefusal(beyondLength) }
  if (how !== "whole") return { keeps: !isChecked, failure: tusRefusal(brokenOff) }
  return writer.isAsAnnounced() ? { keeps: true, failure: null } : { keeps: false, failure: tusRefusal(mismatch) }
}

const receiveWithin = async (sizeBytesMax: number, writer: BatchWriter, arrival: Arrival) => {
  const { body, pass, pieceBytes, stop } = arrival
  let isTooLong = false
  let askedBytes = writer.sizeBytes
  const ask = () => {
    const sizeBytes = writer.sizeBytes - askedBytes
    askedBytes += sizeBytes
    return pass(sizeBytes)
  }
  const askAndFlush = async () => {
    await ask()
    await writer.flush()
  }
  const take = (chunk: Buffer) => {
    isTooLong = writer.sizeBytes + chunk.length > sizeBytesMax
    if (isTooLong) return "enough"
    if (writer.add(chunk)) return askAndFlush()
    return writer.sizeBytes - askedBytes < pieceBytes ? "more" : ask()
  }
  const how = await receiveBody(body, take, stop)
  if (isTooLong) return "tooLong"
  if (how === "whole") await ask()
  return how
}

const brokenOff: Problem = {
  status: 409,
  tag: "UploadBrokenOff",
  title: "Another request took this upload over before this one ended; ask for the offset and resume."
}
export const mismatch: Problem = {
  status: 460,
  tag: "ChecksumMismatch",
  title: "The bytes do not have the checksum that Upload-Checksum says; none of them were kept. Send them again.",
  fields: { header: "Upload-Checksum" }
}
export const expired: Problem = {
  status: 410,
  tag: "UploadExpired",
  title: "The upload has expired and what was received is gone; begin it again."
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
