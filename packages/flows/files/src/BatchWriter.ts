// Gathers the bytes of one request and writes them in batches, at most one batch under way while the next one gathers; hashes run along.
// Nothing is written before it may be: where the bytes have to be verified first, the first write asks for leave.
import { createHash, type Hash } from "node:crypto"
import type { FileHandle } from "node:fs/promises"
import { Files } from "@holdfast/resilience/Limits"
import { ByteSize, type Duration } from "effect"
import { within } from "./DiskTrouble.ts"
import type { Checksum } from "./tus/HeaderValues.ts"

/** The hash of the first so many bytes of an upload. */
export interface RunningHash {
  readonly hash: Hash
  readonly sizeBytes: number
}

export interface BatchWriterOptions {
  readonly file: FileHandle
  readonly offset: number
  /** Of the upload before the offset; null when the beginning was received by somebody else. */
  readonly hash: Hash | null
  readonly checksum: Checksum | null
  /** For each batch. */
  readonly deadline: Duration.Duration
  /** Before anything is written whose checksum is not known to be right yet. */
  readonly beforeUnverified: () => Promise<void>
}

const batchBytes = ByteSize.toNumberUnsafe(Files.writeBatchBytes)
const gatheredBytes = ByteSize.toNumberUnsafe(Files.gatheredBytes)

export class BatchWriter {
  readonly #options: BatchWriterOptions
  readonly #check: Hash | null
  #held: Array<Uint8Array> = []
  #gathered = { buffer: Buffer.alloc(0), usedBytes: 0 }
  #underWay: Promise<void> = Promise.resolve()
  #isWhole = false
  heldBytes = 0
  /** Leave was asked for. */
  hasUnverified = false
  /** Of the upload, with what is being written. */
  writtenBytes: number

  constructor(options: BatchWriterOptions) {
    this.#options = options
    this.#check = options.checksum === null ? null : createHash(options.checksum.algorithm)
    this.writtenBytes = options.offset
  }

  /** Whether it is time to flush. */
  add(chunk: Uint8Array): boolean {
    this.#options.hash?.update(chunk)
    this.#check?.update(chunk)
    if (chunk.length * 16 > gatheredBytes) this.#held.push(chunk)
    else this.#gather(chunk)
    this.heldBytes += chunk.length
    return this.heldBytes >= batchBytes
  }

  /** Small pieces are copied together: one by one, each byte of a hostile sender would cost a hundred. */
  #gather(chunk: Uint8Array): void {
    const { buffer, usedBytes } = this.#gathered
    const isLast = this.#held.at(-1)?.buffer === buffer.buffer
    const fits = isLast && usedBytes + chunk.length <= buffer.length
    const target = fits ? this.#gathered : { buffer: Buffer.allocUnsafeSlow(gatheredBytes), usedBytes: 0 }
    target.buffer.set(chunk, target.usedBytes)
    target.usedBytes += chunk.length
    this.#held.splice(fits ? -1 : this.#held.length, 1, target.buffer.subarray(0, target.usedBytes))
    this.#gathered = target
  }

  /** Of the upload, with what is held. */
  get sizeBytes(): number {
    return this.writtenBytes + this.heldBytes
  }

  get hasWritten(): boolean {
    return this.writtenBytes > this.#options.offset
  }

  /** While more is to come: nothing is known yet of what it has to hash to. */
  async flush(): Promise<void> {
    if (this.#check !== null && !this.hasUnverified) {
      this.hasUnverified = true
      await this.#options.beforeUnverified()
    }
    await this.#write()
  }

  async #write(): Promise<void> {
    await this.#underWay
    const { deadline, file } = this.#options
    this.#underWay = within(deadline, writeAll(file, this.#held, this.writtenBytes))
    // Awaited by the next one; a failure must not count as nobody's until then.
    this.#underWay.catch(() => {})
    this.writtenBytes += this.heldBytes
    this.#held = []
    this.heldBytes = 0
  }

  /** Writes what is left. */
  async finish(): Promise<void> {
    await this.#write()
    await this.#underWay
    this.#isWhole = true
  }

  /** Gives up what is held; what is under way ends first, well or not. */
  async abandon(): Promise<void> {
    this.#held = []
    this.heldBytes = 0
    await this.#underWay.catch(() => {})
  }

  /** To be asked once, when everything has come. */
  isAsAnnounced(): boolean {
    const { checksum } = this.#options
    return checksum === null || this.#check === null || this.#check.digest().equals(checksum.digest)
  }

  /** Null when the hash and the disk may differ. */
  runningHash(): RunningHash | null {
    const { hash } = this.#options
    return this.#isWhole && hash !== null ? { hash, sizeBytes: this.writtenBytes } : null
  }
}

export const writeAll = async (
  file: FileHandle,
  chunks: ReadonlyArray<Uint8Array>,
  position: number
): Promise<void> => {
  let rest = chunks
  let at = position
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev([...rest], at)
    at += bytesWritten
    rest = without(rest, bytesWritten)
  }
}

const without = (chunks: ReadonlyArray<Uint8Array>, sizeBytes: number): ReadonlyArray<Uint8Array> => {
  let left = sizeBytes
  return chunks.flatMap((chunk) => {
    const rest = chunk.subarray(Math.min(left, chunk.length))
    left -= chunk.length - rest.length
    return rest.length === 0 ? [] : [rest]
  })
}
