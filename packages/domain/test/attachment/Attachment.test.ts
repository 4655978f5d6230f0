// The file pipeline: every command accepted, refused and repeated, at every stage.
import { describe, expect, it } from "@effect/vitest"
import type { StageOutcome } from "@holdfast/contracts/attachment/Commands"
import {
  FileConverted,
  type FileEvent,
  FileIdentified,
  FileParked,
  FileReceived,
  FileRejected,
  FileReleased,
  FileRetried,
  FileScanned
} from "@holdfast/contracts/attachment/Events"
import { FileAlreadyRegistered, FileNotFound, FileStageNotExpected } from "@holdfast/contracts/attachment/Refusals"
import type { Derivative, FileStage } from "@holdfast/contracts/attachment/Stages"
import { FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { given as givenEvents } from "@holdfast/testkit/Given"
import { pipeline, principal, uuid } from "@holdfast/testkit/History"
import { AttachmentDecider, contentOf, nextStage } from "../../src/attachment/Attachment.ts"
import { evolveAll } from "../../src/Decider.ts"

const given = givenEvents(AttachmentDecider)
const fileId = FileId.make(uuid(1))
const sha256 = Sha256.make("a".repeat(64))
const tool = { name: "test", version: "1" }
const durationMs = 3
const facts = {
  fileId,
  name: "fire.png",
  sizeBytes: 5,
  sha256,
  declaredType: "image/png",
  ownerId: PrincipalId.make("carol")
}
const received = FileReceived.make(facts)
const identified = FileIdentified.make({ fileId, mediaType: "image/png", tool, durationMs })
const scanned = FileScanned.make({ fileId, tool, durationMs })
const smaller: Derivative = {
  kind: "original",
  sha256: Sha256.make("b".repeat(64)),
  sizeBytes: 4,
  mediaType: "image/png"
}
const converted = (...derivatives: ReadonlyArray<Derivative>) =>
  FileConverted.make({ fileId, derivatives, tool, durationMs })
const released = (content: FileReleased["content"]) => FileReleased.make({ fileId, content, tool, durationMs })
const rejected = (stage: FileStage) =>
  FileRejected.make({ fileId, stage, reason: "malware", detail: "found", tool, durationMs })
const parked = (stage: FileStage) => FileParked.make({ fileId, stage, detail: "it crashed", tool, durationMs })
const retried = (stage: FileStage) => FileRetried.make({ fileId, stage })

const outcomes: { readonly [S in FileStage]: StageOutcome } = {
  identify: { _tag: "Identified", mediaType: "image/png" },
  scan: { _tag: "Clean" },
  convert: { _tag: "Converted", derivatives: [] },
  release: { _tag: "Released" }
}
const record = (stage: FileStage, outcome: StageOutcome = outcomes[stage]) =>
  ({ _tag: "RecordFileStage", fileId, stage, outcome, tool, durationMs }) as const

/** What has happened when the file waits for a stage. */
const before: { readonly [S in FileStage]: ReadonlyArray<FileEvent> } = {
  identify: [received],
  scan: [received, identified],
  convert: [received, identified, scanned],
  release: [received, identified, scanned, converted()]
}
const stages = ["identify", "scan", "convert", "release"] as const
const refusedAt = (stage: FileStage, state: FileStageNotExpected["state"]) =>
  new FileStageNotExpected({ fileId, state, stage })

describe("RegisterFile", () => {
  const command = { _tag: "RegisterFile", ...facts } as const

  it("receives an upload once", () => {
    given().when(command, pipeline).accepted(received)
    given(received).when(command, pipeline).unchanged()
    given(...before.release)
      .when(command, pipeline)
      .unchanged()
  })

  it("is refused with another content or owner", () => {
    const refusal = new FileAlreadyRegistered({ fileId })
    given(received)
      .when({ ...command, sha256: Sha256.make("c".repeat(64)) }, pipeline)
      .refused(refusal)
    given(received)
      .when({ ...command, ownerId: PrincipalId.make("dora") }, pipeline)
      .refused(refusal)
  })
})

describe("RecordFileStage", () => {
  it("goes through the stages in order", () => {
    given(...before.identify)
      .when(record("identify"), pipeline)
      .accepted(identified)
    given(...before.scan)
      .when(record("scan"), pipeline)
      .accepted(scanned)
    given(...before.convert)
      .when(record("convert"), pipeline)
      .accepted(converted())
  })

  it("releases the uploaded bytes, or the re-encoded image that stands in for them", () => {
    given(...before.release)
      .when(record("release"), pipeline)
      .accepted(released({ sha256, sizeBytes: 5, mediaType: "image/png" }))
    given(...before.convert, converted(smaller))
      .when(record("release"), pipeline)
      .accepted(released({ sha256: smaller.sha256, sizeBytes: 4, mediaType: "image/png" }))
  })

  it.each(stages)("may reject at %s, once, and nothing follows", (stage) => {
    const reject = record(stage, { _tag: "Rejected", reason: "malware", detail: "found" })
    given(...before[stage])
      .when(reject, pipeline)
      .accepted(rejected(stage))
    for (const later of stages)
      given(...before[stage], rejected(stage))
        .when(record(later), pipeline)
        .unchanged()
  })

  it.each(stages)("parks at %s when the stage could not run, and then takes no outcome", (stage) => {
    const failed = record(stage, { _tag: "Failed", detail: "it crashed" })
    given(...before[stage])
      .when(failed, pipeline)
      .accepted(parked(stage))
    given(...before[stage], parked(stage))
      .when(record(stage), pipeline)
      .refused(refusedAt(stage, "parked"))
  })

  it("records no stage twice", () => {
    given(...before.convert)
      .when(record("identify"), pipeline)
      .unchanged()
    given(...before.convert)
      .when(record("scan"), pipeline)
      .unchanged()
    const all = [...before.release, released({ sha256, sizeBytes: 5, mediaType: "image/png" })]
    for (const stage of stages)
      given(...all)
        .when(record(stage), pipeline)
        .unchanged()
  })

  it("skips no stage: nothing is released unscanned", () => {
    given(...before.identify)
      .when(record("scan"), pipeline)
      .refused(refusedAt("scan", "received"))
    given(...before.identify)
      .when(record("release"), pipeline)
      .refused(refusedAt("release", "received"))
    given(...before.scan)
      .when(record("release"), pipeline)
      .refused(refusedAt("release", "identified"))
    given(...before.convert)
      .when(record("release"), pipeline)
      .refused(refusedAt("release", "scanned"))
  })

  it("takes no outcome of another stage", () => {
    given(...before.scan)
      .when(record("scan", outcomes.release), pipeline)
      .refused(refusedAt("scan", "identified"))
    given(...before.identify)
      .when(record("identify", outcomes.scan), pipeline)
      .refused(refusedAt("identify", "received"))
  })

  it("is refused where there is no file", () => {
    given().when(record("identify"), pipeline).refused(new FileNotFound({ fileId }))
  })
})

describe("RetryFile", () => {
  const command = { _tag: "RetryFile", fileId } as const
  const supervisor = principal("supervisor", "sue")

  it.each(stages)("sends a file that is parked at %s through that stage again", (stage) => {
    const past = [...before[stage], parked(stage)]
    given(...past)
      .when(command, supervisor)
      .accepted(retried(stage))
    const state = evolveAll(AttachmentDecider, null, [...past, retried(stage)])
    expect(state === null ? null : nextStage(state)).toBe(stage)
  })

  it("changes nothing on a file that is not parked", () => {
    for (const stage of stages)
      given(...before[stage])
        .when(command, supervisor)
        .unchanged()
    given(received, rejected("identify")).when(command, supervisor).unchanged()
  })

  it("is refused where there is no file", () => {
    given().when(command, supervisor).refused(new FileNotFound({ fileId }))
  })
})

it("content of an unknown type is told as bytes", () => {
  const state = evolveAll(AttachmentDecider, null, [received])
  expect(state === null ? null : contentOf(state).mediaType).toBe("application/octet-stream")
})
