// The first stage: what the content is, from its first and last bytes, and whether that is what was declared and what the name promises.
import { readFileSync } from "node:fs"
import { StageOutcome } from "@holdfast/contracts/attachment/Commands"
import { Converter, Inspection, Pipeline } from "@holdfast/resilience/Limits"
import { pixelsOf } from "@holdfast/scanner/PictureSize"
import { Quarantine } from "@holdfast/storage/BlobStore"
import { ByteSize, Effect, Result } from "effect"
import { fileTypeFromBuffer } from "file-type"
import type { FileInHand } from "../FileInHand.ts"
import { declaredFor, identify, nameContradicts } from "../MediaTypes.ts"
import { alsoIs } from "../Polyglots.ts"
import type { StageResult } from "../Stage.ts"
import { textKindOf } from "../TextKinds.ts"
import { readEnds } from "./Ends.ts"

const packageOf = (name: string): string => {
  const described: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.resolve(name)), "utf8"))
  const hasVersion = typeof described === "object" && described !== null && "version" in described
  return hasVersion ? String(described.version) : "unknown"
}
/** Raised with every change of our own rules. */
const rules = "2"
const tool = { name: "file-type", version: `${packageOf("file-type")} rules ${rules}` }

export const run = Effect.fn("Pipeline.identify")(function* ({ attachment, name }: FileInHand) {
  if (attachment.sizeBytes === 0) return rejected("empty", "the file has no content")
  const { head, tail } = yield* readEnds(yield* Quarantine, attachment, endBytes)
  const found = yield* Effect.promise(() => fileTypeFromBuffer(head).catch(() => undefined))
  const detected = found?.mime ?? null
  const pixels = pixelsOf(head) ?? 0
  if (pixels > Converter.pixelsMax) return rejected("limits_exceeded", `a picture of ${pixels} pixels`)
  const other = alsoIs(detected, head, tail)
  if (other !== null) return rejected("type_mismatch", other)
  const evidence = { detected, text: textKindOf(head, head.length === attachment.sizeBytes) }
  return Result.match(identify(declaredFor(name, attachment.declaredType), evidence), {
    onFailure: (detail) => rejected("type_mismatch", detail),
    onSuccess: (mediaType) => identified(name, mediaType)
  })
})

const endBytes = {
  head: ByteSize.toNumberUnsafe(Pipeline.headBytes),
  tail: ByteSize.toNumberUnsafe(Inspection.tailBytes)
}

const identified = (name: string, mediaType: string): StageResult => {
  const contradiction = nameContradicts(name, mediaType)
  return contradiction === null
    ? { outcome: StageOutcome.cases.Identified.make({ mediaType }), tool }
    : rejected("type_mismatch", contradiction)
}

const rejected = (reason: "empty" | "type_mismatch" | "limits_exceeded", detail: string): StageResult => ({
  outcome: StageOutcome.cases.Rejected.make({ reason, detail }),
  tool
})
