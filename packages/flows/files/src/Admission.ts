// Whether there is room for another upload: how many its owner and all together have under way, and what the disk has left when all of them
// arrive. Parts count like any other upload; the upload that they make counts by its bytes alone, as it takes their places.
import type { FileId, PrincipalId } from "@holdfast/contracts/Ids"
import { Files } from "@holdfast/resilience/Limits"
import type { Intake } from "@holdfast/storage/BlobStore"
import { Effect } from "effect"
import { refusalOfStorage } from "./DiskTrouble.ts"
import { type TusRefusal, tusRefusal } from "./Problem.ts"
import { ownerOf } from "./UploadRecords.ts"
import type { UploadStore } from "./UploadStore.ts"

export class Admission {
  readonly #intake: Intake["Service"]
  /** Started and not done. */
  readonly #open = new Map<string, { readonly ownerId: string; readonly sizeBytes: number }>()

  constructor(intake: Intake["Service"]) {
    this.#intake = intake
  }

  /** Holds a place until it is given back. */
  admit(store: UploadStore, id: FileId, ownerId: PrincipalId, sizeBytes: number): Effect.Effect<void, TusRefusal> {
    return Effect.gen({ self: this }, function* () {
      // Some of them may have been finished by another gateway on this disk.
      if (this.#isFull(ownerId)) yield* Effect.promise(() => this.recount(store))
      if (this.#isFull(ownerId)) return yield* tooManyUploads
      yield* this.admitBytes(sizeBytes)
      this.#open.set(id, { ownerId, sizeBytes })
    })
  }

  admitBytes(sizeBytes: number): Effect.Effect<void, TusRefusal> {
    const promisedBytes = [...this.#open.values()].reduce((sum, one) => sum + one.sizeBytes, sizeBytes)
    return Effect.mapError(this.#intake.hasRoomFor(promisedBytes), (error) =>
      error.reason === "refused" ? noRoom : refusalOfStorage(error)
    )
  }

  giveBack(id: string): void {
    this.#open.delete(id)
  }

  /** One that was admitted and then could not be created holds no place for ever. */
  keepOnly(described: ReadonlyArray<FileId>): void {
    const known = new Set<string>(described)
    for (const id of [...this.#open.keys()]) if (!known.has(id)) this.#open.delete(id)
  }

  async recount(store: UploadStore): Promise<void> {
    this.#open.clear()
    for (const id of await store.list()) {
      if (await store.isDone(id)) continue
      const upload = await store.find(id).catch(() => undefined)
      const ownerId = upload === undefined ? null : ownerOf(upload.record)
      if (upload !== undefined && ownerId !== null) this.#open.set(id, { ownerId, sizeBytes: upload.record.size })
    }
  }

  #isFull(ownerId: string): boolean {
    const all = [...this.#open.values()]
    const own = all.filter((one) => one.ownerId === ownerId).length
    return own >= Files.openUploadsPerPrincipalMax || all.length >= Files.openUploadsMax
  }
}

const tooManyUploads = tusRefusal({
  status: 429,
  tag: "TooManyUploads",
  title: "Too many uploads are under way; finish or delete one, then try again."
})
const noRoom = tusRefusal({ status: 507, tag: "StorageFull", title: "There is no room for this upload just now." })
