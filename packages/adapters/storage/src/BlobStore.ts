// Stored bytes. Quarantine and released are two services over two roots with different permissions: nothing that serves downloads
// is ever given the quarantine.
import type { FileId, Sha256 } from "@holdfast/contracts/Ids"
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
  /**
   * Durable (file and folder flushed) once this succeeds. Fails with `refused` when the disk budget is reached, or while a sweep removes this
   * very content. Whoever is to find it again has the file that needs it in the log before this begins (`References`).
   */
  put(sha256: Sha256, content: Stream.Stream<Uint8Array, Unavailable>): Effect.Effect<void, Unavailable | BlobCorrupt>
  /**
   * The whole content is checked: its last piece comes only once all of it has the hash of its name, else `BlobCorrupt`. A part is given as it
   * is stored, unless damage is known; it ends early only where the content ends.
   */
  read(sha256: Sha256, range?: ByteRange): Stream.Stream<Uint8Array, Unavailable | BlobNotFound | BlobCorrupt>
  sizeBytes(sha256: Sha256): Effect.Effect<number, Unavailable | BlobNotFound>
  /** At once, whoever needs it: for content found bad. What nobody needs any more goes by the sweep. Removing what is not there is no error. */
  remove(sha256: Sha256): Effect.Effect<void, Unavailable>
}

export class Quarantine extends Context.Service<Quarantine, BlobStore>()("@holdfast/storage/Quarantine") {}
export class Released extends Context.Service<Released, BlobStore>()("@holdfast/storage/Released") {}

/**
 * The files that were withdrawn after their release, kept beside what downloads give and asked at each of them: links die although nobody asks
 * the database, and stay dead should the same content come again in another file, or a copy of the views not know of it yet. Never forgotten.
 */
export class Withdrawn extends Context.Service<
  Withdrawn,
  {
    /** Durable once this succeeds. Again is harmless. */
    add(fileId: FileId): Effect.Effect<void, Unavailable>
    has(fileId: FileId): Effect.Effect<boolean, Unavailable>
  }
>()("@holdfast/storage/Withdrawn") {}

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

/**
 * Which content files need, asked of the log's own state and never of a copy that may lag. A file counts from the moment at which it is
 * registered, long before its content is put into the released store, until it is rejected or withdrawn.
 */
export class References extends Context.Service<
  References,
  {
    /** Those that a file still waits with, or could be sent through its stages again with. */
    quarantined(keys: ReadonlyArray<Sha256>): Effect.Effect<ReadonlySet<Sha256>, Unavailable>
    /** Those that a file gives, or may yet give, to a download. */
    released(keys: ReadonlyArray<Sha256>): Effect.Effect<ReadonlySet<Sha256>, Unavailable>
  }
>()("@holdfast/storage/References") {}

/** Clears the stores of what nobody will ask for again. */
export class StorageSweep extends Context.Service<
  StorageSweep,
  {
    /** Removes what interrupted writes left behind, and old content that no file needs; how many files. Released content in turns. */
    readonly runOnce: Effect.Effect<number, Unavailable>
    /** At once, however young: those of these released contents that no file needs; what is needed stays. Done once this succeeds. */
    remove(keys: ReadonlyArray<Sha256>): Effect.Effect<void, Unavailable>
  }
>()("@holdfast/storage/StorageSweep") {}
