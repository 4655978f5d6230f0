// The third stage: an image is replaced by a clean copy and gets a thumbnail, a document gets a picture of its first page; anything else passes
// as it is. What was made stays in the quarantine until the file is released.
import { createHash, randomUUID } from "node:crypto"
import { mkdir, open, rm } from "node:fs/promises"
import { join } from "node:path"
import { StageOutcome } from "@holdfast/contracts/attachment/Commands"
import type { Derivative } from "@holdfast/contracts/attachment/Stages"
import { Sha256 } from "@holdfast/contracts/Ids"
import { type Converted, Converter, conversionOf } from "@holdfast/converter/Converter"
import { Storage } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Quarantine } from "@holdfast/storage/BlobStore"
import { Duration, Effect, Stream } from "effect"
import type { FileInHand } from "../FileInHand.ts"
import type { StageResult } from "../Stage.ts"
import { mediaTypeOf } from "./Scan.ts"

/** @param folder where the converter's private copies lie for as long as they are needed */
export const run = Effect.fn("Pipeline.convert")(function* ({ attachment }: FileInHand, folder: string) {
  const mediaType = mediaTypeOf(attachment)
  if (conversionOf(mediaType) === "none") return nothingMadeOf(mediaType)
  const converter = yield* Converter
  const conversion = yield* Effect.scoped(
    Effect.flatMap(privateCopy(attachment.sha256, folder), (path) => converter.convert(path, mediaType))
  )
  if (conversion._tag === "Bad") {
    const { detail, reason, tool } = conversion
    return { outcome: StageOutcome.cases.Rejected.make({ reason, detail }), tool } satisfies StageResult
  }
  const derivatives = yield* Effect.forEach(conversion.outputs, keep)
  const facts = conversion.detail === undefined ? { derivatives } : { derivatives, detail: conversion.detail }
  const result: StageResult = { outcome: StageOutcome.cases.Converted.make(facts), tool: conversion.tool }
  return result
})

/** A scalable picture can hold programs and fetch from elsewhere: it is never drawn here, and only ever given as an attachment. */
const nothingMadeOf = (mediaType: string): StageResult => {
  const detail = mediaType === "image/svg+xml" ? { detail: "not drawn: given as an attachment only" } : {}
  return {
    outcome: StageOutcome.cases.Converted.make({ derivatives: [], ...detail }),
    tool: { name: "none", version: "1" }
  }
}

const privateCopy = Effect.fnUntraced(function* (sha256: Sha256, folder: string) {
  const quarantine = yield* Quarantine
  const path = join(folder, randomUUID())
  yield* io(() => mkdir(folder, { recursive: true, mode: 0o700 }))
  const file = yield* Effect.acquireRelease(
    io(() => open(path, "wx", 0o600)),
    (opened) => Effect.ignore(io(() => opened.close().finally(() => rm(path, { force: true }))))
  )
  yield* Stream.runForEach(quarantine.read(sha256), (chunk) => io(() => file.writeFile(chunk)))
  return path
})

const io = <A>(run: () => Promise<A>): Effect.Effect<A, Unavailable> =>
  Effect.tryPromise({
    try: run,
    catch: () =>
      new Unavailable({
        dependency: "storage",
        reason: "refused",
        retryAfterMs: Duration.toMillis(Storage.retryDelay),
        detail: "no private copy could be written"
      })
  })

const keep = Effect.fnUntraced(function* ({ bytes, kind, mediaType }: Converted) {
  const quarantine = yield* Quarantine
  const sha256 = Sha256.make(createHash("sha256").update(bytes).digest("hex"))
  yield* quarantine.put(sha256, Stream.make(bytes))
  const derivative: Derivative = { kind, sha256, sizeBytes: bytes.length, mediaType }
  return derivative
})
