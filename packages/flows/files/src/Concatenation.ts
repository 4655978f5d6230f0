// One upload out of parts that were sent side by side. It is written beside them, a batch in memory at a time, hashed on the way, flushed, and
// only then given its name and description; the parts go after it is done. Its id follows from its owner, its parts and its metadata, so that
// a request that is sent again, also after a crash or when the parts are gone, meets the same upload.
import { createHash, type Hash } from "node:crypto"
import { type FileHandle, open, rm } from "node:fs/promises"
import { FileId } from "@holdfast/contracts/Ids"
import { Files, Storage } from "@holdfast/resilience/Limits"
import { ByteSize } from "effect"
import { writeAll } from "./BatchWriter.ts"
import { within } from "./DiskTrouble.ts"
import { type Problem, tusRefusal } from "./Problem.ts"
import type { Concatenate } from "./tus/Protocol.ts"
import { ownerOf, type UploadRecord } from "./UploadRecords.ts"
import { isComplete, type Upload, type UploadStore } from "./UploadStore.ts"

/** A UUIDv7 of the time of its newest part: journal entries are taken in the order of their ids. */
export const idOfWhole = (ownerId: string, { declared, parts }: Concatenate): FileId => {
  const hash = createHash("sha256")
    .update(JSON.stringify([ownerId, parts, declared]))
    .digest("hex")
  const newest = parts.toSorted().at(-1) ?? parts[0]
  return FileId.make(
    `${newest.slice(0, "01234567-89ab".length)}-7${hash.slice(0, 3)}-8${hash.slice(3, 6)}-${hash.slice(6, 18)}`
  )
}

/** The parts in the order of the request; one may be there more than once. */
export const partsOf = async (
  store: UploadStore,
  ownerId: string,
  { parts }: Concatenate
): Promise<ReadonlyArray<Upload>> => {
  const found = new Map<FileId, Upload>()
  for (const id of new Set(parts)) {
    const part = await settledPart(store, id)
    if (part?.record.part === undefined || ownerOf(part.record) !== ownerId) throw tusRefusal(noPart(id))
    if (!isComplete(part)) throw tusRefusal(notComplete(id))
    found.set(id, part)
  }
  return parts.flatMap((id) => found.get(id) ?? [])
}

/** Whoever still writes to it has its lock, and is left alone: what is there is not all of it. */
const settledPart = async (store: UploadStore, id: FileId): Promise<Upload | undefined> => {
  const there = await store.find(id)
  return there !== undefined && isComplete(there) ? store.settled(id) : there
}

/** Everything in one file, under the description that is given. */
export const concatenate = async (
  store: UploadStore,
  parts: ReadonlyArray<Upload>,
  record: UploadRecord
): Promise<void> => {
  const path = store.preparingPathOf(record.id)
  try {
    const hash = await joined(store, parts, path)
    await store.createWhole(record, hash)
  } catch (error) {
    await rm(path, { force: true }).catch(() => {})
    throw error
  }
}

const joined = async (store: UploadStore, parts: ReadonlyArray<Upload>, path: string): Promise<Hash> => {
  const hash = createHash("sha256")
  const sources = new Map<FileId, FileHandle>()
  const target = await open(path, "w", 0o600)
  try {
    // All are open before the first is read: one that is deleted meanwhile is read to its end.
    for (const { record } of parts) {
      if (!sources.has(record.id)) sources.set(record.id, await open(store.pathOf(record.id), "r"))
    }
    let at = 0
    for (const { record } of parts) {
      const source = sources.get(record.id)
      if (source !== undefined) at += await copy(source, record.size, target, at, hash)
    }
    await within(Storage.flushDeadline, target.datasync())
    return hash
  } finally {
    for (const file of [target, ...sources.values()]) void file.close().catch(() => {})
  }
}

const copy = async (
  source: FileHandle,
  sizeBytes: number,
  target: FileHandle,
  position: number,
  hash: Hash
): Promise<number> => {
  const buffer = Buffer.allocUnsafe(Math.min(sizeBytes, ByteSize.toNumberUnsafe(Files.writeBatchBytes)))
  let doneBytes = 0
  while (doneBytes < sizeBytes) {
    const length = Math.min(buffer.length, sizeBytes - doneBytes)
    const { bytesRead } = await within(Storage.flushDeadline, source.read(buffer, 0, length, doneBytes))
    if (bytesRead === 0) throw Object.assign(new Error("a part is shorter than it was"), { code: "EIO" })
    const batch = buffer.subarray(0, bytesRead)
    hash.update(batch)
    await within(Storage.flushDeadline, writeAll(target, [batch], position + doneBytes))
    doneBytes += bytesRead
  }
  return doneBytes
}

const noPart = (id: FileId): Problem => ({
  status: 400,
  tag: "UploadRequestNotValid",
  title: `The header Upload-Concat names ${id}, which is no part of yours, or is used up; upload it again.`,
  fields: { header: "Upload-Concat", part: id }
})
const notComplete = (id: FileId): Problem => ({
  status: 409,
  tag: "UploadPartNotComplete",
  title: `The header Upload-Concat names ${id}, of which some bytes are missing; send them, then try again.`,
  fields: { header: "Upload-Concat", part: id }
})
