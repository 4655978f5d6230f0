// What happens when the last byte of an upload is in: its content is added to the quarantine, the journal entry is written, and only then
// does the upload count as done. Each step may run again, so a crash between any two ends the same; another gateway on the same disk may
// be finishing the same upload, and whoever comes too late for a step finds it done.
import type { FileId, Sha256 } from "@holdfast/contracts/Ids"
import type { Intake } from "@holdfast/storage/BlobStore"
import { Effect, Result } from "effect"
import { refusalOfStorage } from "./DiskTrouble.ts"
import type { Journal, JournalEntry } from "./Journal.ts"
import { tusRefusal } from "./Problem.ts"
import { notFound } from "./tus/Protocol.ts"
import { decodeFacts } from "./UploadMetadata.ts"
import type { UploadRecord } from "./UploadRecords.ts"
import { isComplete, type UploadStore } from "./UploadStore.ts"

export interface Finishing {
  readonly intake: Intake["Service"]
  readonly journal: Journal["Service"]
  readonly store: UploadStore
  readonly runPromise: <A, E>(effect: Effect.Effect<A, E>) => Promise<A>
}

/** Not a part, and not done when the disk took some of it back meanwhile. */
export const finish = async (finishing: Finishing, id: FileId): Promise<void> => {
  if (await finishing.store.isDone(id)) return
  try {
    await finishHere(finishing, id)
  } catch (error) {
    if (!(await finishing.store.isDone(id))) throw error
  }
}

const finishHere = async ({ intake, journal, runPromise, store }: Finishing, id: FileId): Promise<void> => {
  const upload = await store.settled(id)
  if (upload === undefined || upload.record.part !== undefined) throw tusRefusal(notFound)
  if (!isComplete(upload)) return
  const entry = entryOf(upload.record, await store.sha256Of(id, upload.offset))
  const kept = intake.take(store.pathOf(id), entry.file.sha256).pipe(Effect.andThen(journal.write(entry)))
  await runPromise(Effect.mapError(kept, refusalOfStorage))
  await store.markDone(id)
}

const entryOf = (record: UploadRecord, sha256: Sha256): JournalEntry => {
  const facts = decodeFacts(record.metadata)
  if (Result.isFailure(facts)) throw tusRefusal(notFound)
  const { correlationId, filename, filetype, ownerId, ticketId, traceparent } = facts.success
  const file = {
    fileId: record.id,
    name: filename,
    sizeBytes: record.size,
    sha256,
    declaredType: filetype,
    ownerId,
    ...(ticketId === undefined ? {} : { ticketId })
  }
  return { file, correlationId, traceparent: traceparent ?? null }
}
