// The second stage: the scanner reads the whole content from the quarantine, whose hash is checked on the way.
import { StageOutcome } from "@holdfast/contracts/attachment/Commands"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Scanner, type Verdict } from "@holdfast/scanner/Scanner"
import { Quarantine } from "@holdfast/storage/BlobStore"
import { Effect, Stream } from "effect"
import { type FileInHand, StageImpossible, type StageResult } from "../Stage.ts"

export const run = Effect.fn("Pipeline.scan")(function* ({ attachment, name }: FileInHand) {
  const quarantine = yield* Quarantine
  const scanner = yield* Scanner
  // The scanner's port knows content that cannot be read just now; content that is gone or damaged ends the scan and is told here.
  let lost: StageImpossible | null = null
  const content = Stream.catch(quarantine.read(attachment.sha256), (error) => {
    if (error._tag === "Unavailable") return Stream.fail(error)
    lost = new StageImpossible({ detail: `the content is ${error._tag === "BlobNotFound" ? "gone" : "damaged"}` })
    return Stream.fail(unreadable)
  })
  const request = { content, name, sizeBytes: attachment.sizeBytes, mediaType: mediaTypeOf(attachment) }
  const verdict = yield* Effect.mapError(scanner.scan(request), (error) => lost ?? error)
  return resultOf(verdict)
})

const unreadable = new Unavailable({
  dependency: "storage",
  reason: "refused",
  retryAfterMs: 0,
  detail: "the content cannot be read"
})

export const mediaTypeOf = ({ declaredType, mediaType }: FileInHand["attachment"]): string => mediaType ?? declaredType

const resultOf = (verdict: Verdict): StageResult =>
  verdict._tag === "Clean"
    ? { outcome: StageOutcome.cases.Clean.make({}), tool: verdict.tool }
    : {
        outcome: StageOutcome.cases.Rejected.make({ reason: verdict.reason, detail: verdict.detail }),
        tool: verdict.tool
      }
