// Content that only the journal knows of is needed too; too long a journal means that nothing is removed.
import { createHash } from "node:crypto"
import { expect, it } from "@effect/vitest"
import { CorrelationId, FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { FileReferences } from "@holdfast/database/FileReferences"
import { Files } from "@holdfast/resilience/Limits"
import { References } from "@holdfast/storage/BlobStore"
import { uuid } from "@holdfast/testkit/History"
import { Effect, Layer, Option } from "effect"
import * as ContentReferences from "../src/ContentReferences.ts"
import { Journal, type JournalEntry } from "../src/Journal.ts"

const keyOf = (name: string) => Sha256.make(createHash("sha256").update(name).digest("hex"))
const entry = (index: number): JournalEntry => ({
  file: {
    fileId: FileId.make(uuid(index)),
    name: "a",
    sizeBytes: 1,
    sha256: keyOf(`upload ${index}`),
    declaredType: "text/plain",
    ownerId: PrincipalId.make("ada")
  },
  correlationId: CorrelationId.make(uuid(9_000 + index)),
  traceparent: null
})

const withJournal = (count: number) => {
  const entries = new Map(Array.from({ length: count }, (_, index) => [entry(index).file.fileId, entry(index)]))
  return ContentReferences.layer.pipe(
    Layer.provide([
      Layer.mock(Journal)({
        list: (countMax) => Effect.succeed([...entries.keys()].slice(0, countMax)),
        read: (fileId) => Effect.succeed(Option.fromNullishOr(entries.get(fileId)))
      }),
      Layer.succeed(FileReferences, {
        waiting: () => Effect.succeed(new Set([keyOf("waits")])),
        kept: () => Effect.succeed(new Set([keyOf("released")]))
      })
    ])
  )
}

const keys = [keyOf("waits"), keyOf("upload 1"), keyOf("old"), keyOf("released")]

it.effect("an upload that the core has not heard of keeps its content", () =>
  Effect.gen(function* () {
    const references = yield* References
    const needed = yield* references.quarantined(keys)
    expect(keys.filter((key) => needed.has(key))).toEqual([keyOf("waits"), keyOf("upload 1")])
    expect(yield* references.released(keys)).toEqual(new Set([keyOf("released")]))
  }).pipe(Effect.provide(withJournal(3)))
)

it.effect("nothing is removed while the journal is too long to be looked through", () =>
  Effect.gen(function* () {
    const references = yield* References
    expect(yield* references.quarantined(keys)).toEqual(new Set(keys))
  }).pipe(Effect.provide(withJournal(Files.journalBatchMax)))
)
