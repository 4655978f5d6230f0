// The last stage: what a download may give is copied from the quarantine to the released store. An image's uploaded bytes stay behind.
import { StageOutcome } from "@holdfast/contracts/attachment/Commands"
import type { Sha256 } from "@holdfast/contracts/Ids"
import { contentOf } from "@holdfast/domain/attachment/Attachment"
import { Quarantine, Released } from "@holdfast/storage/BlobStore"
import { Effect, Stream } from "effect"
import type { FileInHand } from "../FileInHand.ts"
import { StageImpossible, type StageResult } from "../Stage.ts"

export const run = Effect.fn("Pipeline.release")(function* ({ attachment }: FileInHand) {
  const hashes = new Set([contentOf(attachment).sha256, ...attachment.derivatives.map(({ sha256 }) => sha256)])
  yield* Effect.forEach(hashes, copy, { discard: true })
  const result: StageResult = {
    outcome: StageOutcome.cases.Released.make({}),
    tool: { name: "holdfast", version: "1" }
  }
  return result
})

const copy = Effect.fnUntraced(function* (sha256: Sha256) {
  const quarantine = yield* Quarantine
  const released = yield* Released
  let lost: StageImpossible | null = null
  const content = Stream.catch(quarantine.read(sha256), (error) => {
    if (error._tag === "Unavailable") return Stream.fail(error)
    lost = new StageImpossible({ detail: `the content is ${error._tag === "BlobNotFound" ? "gone" : "damaged"}` })
    return Stream.empty
  })
  yield* Effect.mapError(released.put(sha256, content), (error) => lost ?? error)
})
