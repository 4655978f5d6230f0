// Stored bytes. Quarantine and released are two services over two roots with different permissions: nothing that serves downloads
// is ever given the quarantine.
import type { Sha256 } from "@holdfast/contracts/Ids"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect, Schema, type Stream } from "effect"

export class BlobNotFound extends Schema.TaggedError<BlobNotFound>()("BlobNotFound", { key: Schema.String }) {}

/** The bytes do not have the hash that their name says: the disk lost something. */
export class BlobCorrupt extends Schema.TaggedError<BlobCorrupt>()("BlobCorrupt", { key: Schema.String }) {}

export interface ByteRange {
  readonly start: number
  /** Inclusive. */
  readonly end: number
}

/** Content addressed by SHA-256: storing the same bytes twice stores them once. */
export interface BlobStore {
  /** Durable (file and folder flushed) once this succeeds. Fails with `refused` when the disk budget is reached. */
  put(sha256: Sha256, content: Stream.Stream<Uint8Array, Unavailable>): Effect.Effect<void, Unavailable | BlobCorrupt>
  read(sha256: Sha256, range?: ByteRange): Stream.Stream<Uint8Array, Unavailable | BlobNotFound | BlobCorrupt>
  sizeBytes(sha256: Sha256): Effect.Effect<number, Unavailable | BlobNotFound>
  /** Removing what is not there is no error. */
  remove(sha256: Sha256): Effect.Effect<void, Unavailable>
}

export class Quarantine extends Context.Service<Quarantine, BlobStore>()("@holdfast/storage/Quarantine") {}
export class Released extends Context.Service<Released, BlobStore>()("@holdfast/storage/Released") {}

/** What somebody who receives uploads may do to the quarantine: add to it. Reading is not part of it. */
export class Intake extends Context.Service<
  Intake,
  {
    /** Whether so many more bytes fit the disk budget; `refused` when they do not. */
    hasRoomFor(sizeBytes: number): Effect.Effect<void, Unavailable>
    /**
     * Adds a finished, flushed file of the same disk without copying it; the file itself stays where it is. Durable once this
     * succeeds; repeating it is harmless. The hash is the caller's, and is checked at every whole read.
     */
    take(path: string, sha256: Sha256): Effect.Effect<void, Unavailable>
  }
>()("@holdfast/storage/Intake") {}

/** Clears a root of what nobody will ask for again. */
export class StorageSweep extends Context.Service<
  StorageSweep,
  {
    /** Removes what interrupted writes left behind, and quarantined content that was last added so long ago; how many files. */
    readonly runOnce: Effect.Effect<number, Unavailable>
  }
>()("@holdfast/storage/StorageSweep") {}
