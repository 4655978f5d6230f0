// The second stage: first the inspector looks into what has something inside, then the scanner reads the whole content from the quarantine,
// whose hash is checked on the way. What cannot be looked into follows the desk's policy, whatever the scanner would say of it. The same is
// done again with what a released file gives to downloads.
import { StageOutcome } from "@holdfast/contracts/attachment/Commands"
import type { FileReleased } from "@holdfast/contracts/attachment/Events"
import type { RejectionReason, Tool } from "@holdfast/contracts/attachment/Stages"
import { contentOf } from "@holdfast/domain/attachment/Attachment"
import { Inspection as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Inspector } from "@holdfast/scanner/Inspector"
import { Scanner, type Verdict } from "@holdfast/scanner/Scanner"
import { type BlobStore, Quarantine, Released } from "@holdfast/storage/BlobStore"
import { ByteSize, Effect, Stream } from "effect"
import type { FileInHand } from "../FileInHand.ts"
import { StageImpossible, type StageResult } from "../Stage.ts"
import { allOf, endsOf, readEnds } from "./Ends.ts"

/** What becomes of a file that cannot be looked into: rejected, or parked until a person has judged it. */
export type OpaquePolicy = "reject" | "hold"

export const run = Effect.fn("Pipeline.scan")(function* (file: FileInHand, policy: OpaquePolicy) {
  const { sha256, sizeBytes } = file.attachment
  const content = { sha256, sizeBytes, mediaType: mediaTypeOf(file.attachment) }
  return yield* look({ store: yield* Quarantine, content, name: file.name }, policy)
})

export const again = Effect.fn("Pipeline.rescan")(function* (file: FileInHand, policy: OpaquePolicy) {
  return yield* look({ store: yield* Released, content: contentOf(file.attachment), name: file.name }, policy)
})

interface Looked {
  readonly store: BlobStore
  readonly content: FileReleased["content"]
  readonly name: string
}

const look = Effect.fnUntraced(function* (
  { content: { mediaType, sha256, sizeBytes }, name, store }: Looked,
  policy: OpaquePolicy
) {
  const scanner = yield* Scanner
  const inspector = yield* Inspector
  // The scanner's port knows content that cannot be read just now; content that is gone or damaged ends the scan and is told here.
  let lost: StageImpossible | null = null
  const stored = Stream.catch(store.read(sha256), (error) => {
    if (error._tag === "Unavailable") return Stream.fail(error)
    lost = new StageImpossible({ detail: `the content is ${error._tag === "BlobNotFound" ? "gone" : "damaged"}` })
    return Stream.fail(unreadable)
  })
  // A small content is read once, for all who look at it.
  const whole = sizeBytes > endBytes.head ? null : yield* Effect.mapError(allOf(stored), (error) => lost ?? error)
  const content = whole === null ? stored : Stream.make(whole)
  const ends = whole === null ? yield* readEnds(store, { sha256, sizeBytes }, endBytes) : endsOf(whole, endBytes)
  const request = { content, name, sizeBytes, mediaType }
  const inspection = yield* Effect.mapError(inspector.inspect({ content, ...ends }), (error) => lost ?? error)
  if (inspection._tag !== "Passed") return refused(inspection, inspection._tag === "Opaque" ? policy : "reject")
  const verdict = yield* Effect.mapError(scanner.scan(request), (error) => lost ?? error)
  return resultOf(verdict, inspection.tool, policy)
})

const endBytes = {
  head: ByteSize.toNumberUnsafe(Limits.headBytes),
  tail: ByteSize.toNumberUnsafe(Limits.tailBytes)
}

const unreadable = new Unavailable({
  dependency: "storage",
  reason: "refused",
  retryAfterMs: 0,
  detail: "the content cannot be read"
})

export const mediaTypeOf = ({ declaredType, mediaType }: FileInHand["attachment"]): string => mediaType ?? declaredType

interface Refused {
  readonly tool: Tool
  readonly reason: RejectionReason
  readonly detail: string
}

const refused = ({ detail, reason, tool }: Refused, policy: OpaquePolicy): StageResult => ({
  outcome:
    policy === "hold"
      ? StageOutcome.cases.Failed.make({ detail: `held for a person to judge: ${detail}` })
      : StageOutcome.cases.Rejected.make({ reason, detail }),
  tool
})

const resultOf = (verdict: Verdict, inspector: Tool, policy: OpaquePolicy): StageResult => {
  if (verdict._tag === "Clean") return { outcome: StageOutcome.cases.Clean.make({ inspector }), tool: verdict.tool }
  // The scanner could not look into it either.
  const isOpaque = verdict.reason === "encrypted" || verdict.reason === "limits_exceeded"
  return refused(verdict, isOpaque ? policy : "reject")
}
