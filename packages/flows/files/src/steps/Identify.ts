// The first stage: what the content is, from its first bytes, and whether that is what was declared.
import { readFileSync } from "node:fs"
import { StageOutcome } from "@holdfast/contracts/attachment/Commands"
import { Pipeline } from "@holdfast/resilience/Limits"
import { Quarantine } from "@holdfast/storage/BlobStore"
import { ByteSize, Effect, Result, Stream } from "effect"
import { fileTypeFromBuffer } from "file-type"
import { identify, isUtf8Text } from "../MediaTypes.ts"
import type { FileInHand, StageResult } from "../Stage.ts"

const packageOf = (name: string): string => {
  const described: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.resolve(name)), "utf8"))
  const hasVersion = typeof described === "object" && described !== null && "version" in described
  return hasVersion ? String(described.version) : "unknown"
}
const tool = { name: "file-type", version: packageOf("file-type") }

export const run = Effect.fn("Pipeline.identify")(function* ({ attachment }: FileInHand) {
  if (attachment.sizeBytes === 0) return rejected("empty", "the file has no content")
  const head = yield* readHead(attachment)
  const found = yield* Effect.promise(() => fileTypeFromBuffer(head).catch(() => undefined))
  const evidence = { detected: found?.mime ?? null, isText: isUtf8Text(head) }
  return Result.match(identify(attachment.declaredType, evidence), {
    onFailure: (detail) => rejected("type_mismatch", detail),
    onSuccess: (mediaType): StageResult => ({ outcome: StageOutcome.cases.Identified.make({ mediaType }), tool })
  })
})

const rejected = (reason: "empty" | "type_mismatch", detail: string): StageResult => ({
  outcome: StageOutcome.cases.Rejected.make({ reason, detail }),
  tool
})

const readHead = Effect.fnUntraced(function* ({ sha256, sizeBytes }: FileInHand["attachment"]) {
  const quarantine = yield* Quarantine
  const end = Math.min(sizeBytes, ByteSize.toNumberUnsafe(Pipeline.headBytes)) - 1
  return Buffer.concat(yield* Stream.runCollect(quarantine.read(sha256, { start: 0, end })))
})
