// The disk that files lie on: the quarantine, the released store and the journal of completed uploads. What a write has confirmed outlives
// everything; a write that was cut leaves nothing.
import { createHash } from "node:crypto"
import type { Sha256 } from "@holdfast/contracts/Ids"
import type { Journal, JournalEntry } from "@holdfast/files/Journal"
import { Storage } from "@holdfast/resilience/Limits"
import { BlobCorrupt, BlobNotFound, type BlobStore, type Withdrawn } from "@holdfast/storage/BlobStore"
import { Effect, Option, Stream } from "effect"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import { type Guarded, guarded, type SimulatedServer } from "./SimulatedServer.ts"

export class DiskModel {
  readonly quarantine = new Map<string, Uint8Array>()
  readonly released = new Map<string, Uint8Array>()
  readonly journal = new Map<string, JournalEntry>()
  readonly setAside: Array<string> = []
  readonly withdrawn = new Set<string>()
}

export const diskGuard = (process: SimulatedProcess, server: SimulatedServer) =>
  guarded(process, server, {
    dependency: "storage",
    deadline: Storage.operationDeadline,
    concurrencyMax: Storage.operationsAtOnceMax,
    acquireDeadline: Storage.acquireDeadline
  })

export const simulatedBlobs = (
  disk: Guarded,
  blobs: Map<string, Uint8Array>,
  stored: (sha256: string, bytes: Uint8Array) => void = () => {}
): BlobStore => {
  const found = (key: Sha256) =>
    Effect.flatMap(
      disk.call(() => blobs.get(key)),
      (bytes) => (bytes === undefined ? Effect.fail(new BlobNotFound({ key })) : Effect.succeed(bytes))
    )
  return {
    put: Effect.fnUntraced(function* (key, content) {
      const bytes = Buffer.concat(yield* Stream.runCollect(content))
      if (createHash("sha256").update(bytes).digest("hex") !== key) return yield* new BlobCorrupt({ key })
      yield* disk.call(() => {
        blobs.set(key, bytes)
        stored(key, bytes)
      })
    }),
    read: (key, range) =>
      Stream.unwrap(
        Effect.map(found(key), (bytes) => {
          const wanted = range === undefined ? bytes : bytes.subarray(range.start, range.end + 1)
          const half = Math.ceil(wanted.length / 2)
          return Stream.fromIterable([wanted.subarray(0, half), wanted.subarray(half)])
        })
      ),
    sizeBytes: (key) => Effect.map(found(key), ({ length }) => length),
    remove: (key) => disk.call(() => void blobs.delete(key))
  }
}

export const simulatedWithdrawn = (disk: Guarded, { withdrawn }: DiskModel): Withdrawn["Service"] => ({
  add: (fileId) => disk.call(() => void withdrawn.add(fileId)),
  has: (fileId) => disk.call(() => withdrawn.has(fileId))
})

export const simulatedJournal = (disk: Guarded, { journal, setAside }: DiskModel): Journal["Service"] => ({
  write: (entry) => disk.call(() => void journal.set(entry.file.fileId, entry)),
  list: (countMax) => disk.call(() => [...journal.values()].slice(0, countMax).map(({ file }) => file.fileId)),
  read: (fileId) => disk.call(() => Option.fromNullishOr(journal.get(fileId))),
  remove: (fileId) => disk.call(() => void journal.delete(fileId)),
  setAside: (fileId) =>
    disk.call(() => {
      setAside.push(fileId)
      journal.delete(fileId)
    })
})
