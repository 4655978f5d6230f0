// What stored content is still needed for, as the sweep asks it: by files of the core, and by completed uploads that the core has not heard of.
// An upload is in the journal before it is acknowledged and leaves it only for the core, so the journal is asked first: whatever moves
// meanwhile is then found in the core.
import type { Sha256 } from "@holdfast/contracts/Ids"
import { FileReferences } from "@holdfast/database/FileReferences"
import { Files } from "@holdfast/resilience/Limits"
import { References } from "@holdfast/storage/BlobStore"
import { Effect, Layer, Option } from "effect"
import { Journal } from "./Journal.ts"

export const layer = Layer.effect(
  References,
  Effect.gen(function* () {
    const files = yield* FileReferences
    const journal = yield* Journal
    return {
      quarantined: Effect.fnUntraced(function* (keys: ReadonlyArray<Sha256>) {
        const uploads = yield* inJournal(journal)
        if (uploads === null) return new Set(keys)
        return new Set([...uploads, ...(yield* files.waiting(keys))])
      }),
      // Nothing gets there that the core has not heard of.
      released: (keys: ReadonlyArray<Sha256>) => files.kept(keys)
    }
  })
)

/** Null while there are more entries than are looked at: then everything counts as needed, and the sweep comes back. */
const inJournal = Effect.fnUntraced(function* (journal: Journal["Service"]) {
  const ids = yield* journal.list(Files.journalBatchMax)
  if (ids.length >= Files.journalBatchMax) return null
  const entries = yield* Effect.forEach(ids, (id) => journal.read(id))
  return entries.flatMap((entry) => (Option.isSome(entry) ? [entry.value.file.sha256] : []))
})
