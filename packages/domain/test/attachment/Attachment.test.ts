// The file pipeline: every command accepted, refused and repeated, at every stage.
import { describe, expect, it } from "@effect/vitest"
import type { FileCommand, RescanOutcome, StageOutcome } from "@holdfast/contracts/attachment/Commands"
import {
  FileConverted,
  type FileEvent,
  FileIdentified,
  FileParked,
  FileReceived,
  FileRejected,
  FileReleased,
  FileRescanFailed,
  FileRescanned,
  FileRescanRequested,
  FileRetried,
  FileScanned,
  FileWithdrawn
} from "@holdfast/contracts/attachment/Events"
import {
  FileAlreadyRegistered,
  FileNotFound,
  FileNotReleased,
  FileStageNotExpected
} from "@holdfast/contracts/attachment/Refusals"
import type { Derivative, FileStage } from "@holdfast/contracts/attachment/Stages"
import { CommandId, FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { given as givenEvents } from "@holdfast/testkit/Given"
import { pipeline, principal, uuid } from "@holdfast/testkit/History"
import { Result, Schema } from "effect"
import { Attachment, AttachmentDecider, contentOf, nextStage, stateBefore } from "../../src/attachment/Attachment.ts"
import { evolveAll } from "../../src/Decider.ts"

type AttachmentState = typeof Attachment.Type
const context = { principal: pipeline, commandId: CommandId.make(uuid(9)), number: 1 }

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
const report = (stage: FileStage, outcome: StageOutcome = outcomes[stage]) => ({ stage, outcome, tool, durationMs })
const record = (stage: FileStage, outcome: StageOutcome = outcomes[stage]) =>
  ({ _tag: "RecordFileStages", fileId, stages: [report(stage, outcome)] }) as const

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

describe("RecordFileStages", () => {
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

  it("records stages that followed one another as if each were told alone", () => {
    const stages = [report("identify"), report("scan"), report("convert")] as const
    given(received)
      .when({ _tag: "RecordFileStages", fileId, stages }, pipeline)
      .accepted(identified, scanned, converted())
    given(...before.scan)
      .when({ _tag: "RecordFileStages", fileId, stages }, pipeline)
      .accepted(scanned, converted())
    given(received)
      .when({ _tag: "RecordFileStages", fileId, stages: [report("identify"), report("convert")] }, pipeline)
      .refused(refusedAt("convert", "identified"))
    const found = { _tag: "Rejected", reason: "malware", detail: "found" } as const
    given(received)
      .when(
        { _tag: "RecordFileStages", fileId, stages: [report("identify"), report("scan", found), report("convert")] },
        pipeline
      )
      .accepted(identified, rejected("scan"))
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

describe("a released file", () => {
  const wholeWay = [...before.release, released({ sha256, sizeBytes: 5, mediaType: "image/png" })]
  const requested = FileRescanRequested.make({ fileId })
  const inspector = { name: "inspector", version: "1" }
  const found = { reason: "malware", detail: "found" } as const
  const rescanned = FileRescanned.make({ fileId, inspector, tool, durationMs })
  const couldNot = FileRescanFailed.make({ fileId, detail: "it crashed", tool, durationMs })
  const withdrawn = FileWithdrawn.make({ fileId, ...found, tool, durationMs })
  const rescan = { _tag: "RescanFile", fileId } as const
  const looked = (outcome: RescanOutcome) => ({ _tag: "RecordFileRescan", fileId, outcome, tool, durationMs }) as const
  const bad = looked({ _tag: "Bad", ...found })
  const withdraw = { _tag: "WithdrawFile", fileId, ...found, tool } as const

  it("is looked at again on request, once at a time, any number of times", () => {
    given(...wholeWay)
      .when(rescan, pipeline)
      .accepted(requested)
    given(...wholeWay, requested)
      .when(rescan, pipeline)
      .unchanged()
    for (const done of [rescanned, couldNot]) {
      given(...wholeWay, requested, done)
        .when(rescan, pipeline)
        .accepted(requested)
    }
  })

  it("stays released when it is clean or cannot be looked at, and is withdrawn when it is bad", () => {
    const past = given(...wholeWay, requested)
    past.when(looked({ _tag: "Clean", inspector }), pipeline).accepted(rescanned)
    past.when(looked({ _tag: "Failed", detail: "it crashed" }), pipeline).accepted(couldNot)
    past.when(bad, pipeline).accepted(withdrawn)
  })

  it("takes an outcome once, and none that nobody asked for", () => {
    given(...wholeWay)
      .when(bad, pipeline)
      .unchanged()
    given(...wholeWay, requested, rescanned)
      .when(bad, pipeline)
      .unchanged()
    given(...wholeWay, requested, withdrawn)
      .when(looked({ _tag: "Clean" }), pipeline)
      .unchanged()
  })

  it("is withdrawn for what another file with its content was found to be, also while it is looked at", () => {
    const forAnother = FileWithdrawn.make({ fileId, ...found, tool })
    given(...wholeWay)
      .when(withdraw, pipeline)
      .accepted(forAnother)
    given(...wholeWay, requested)
      .when(withdraw, pipeline)
      .accepted(forAnother)
    given(...wholeWay, requested, forAnother)
      .when(bad, pipeline)
      .unchanged()
  })

  it("is not released if its scan lies before that", () => {
    const refused = FileRejected.make({ fileId, stage: "scan", ...found, tool, durationMs: 0 })
    for (const stage of ["convert", "release"] as const) {
      given(...before[stage])
        .when(withdraw, pipeline)
        .accepted(refused)
      given(...before[stage], parked(stage))
        .when(withdraw, pipeline)
        .accepted(refused)
    }
    for (const stage of ["identify", "scan"] as const) {
      given(...before[stage])
        .when(withdraw, pipeline)
        .unchanged()
      given(...before[stage], parked(stage))
        .when(withdraw, pipeline)
        .unchanged()
    }
    given(...before.convert, parked("convert"), refused)
      .when({ _tag: "RetryFile", fileId }, pipeline)
      .unchanged()
  })

  it("ends when it is withdrawn", () => {
    const end = given(...wholeWay, withdrawn)
    end.when(rescan, pipeline).refused(new FileNotReleased({ fileId, state: "withdrawn" }))
    end.when(withdraw, pipeline).unchanged()
    end.when({ _tag: "RetryFile", fileId }, pipeline).unchanged()
    for (const stage of stages) end.when(record(stage), pipeline).unchanged()
  })

  it("is the only one that is looked at again", () => {
    for (const stage of stages) {
      const state = stateBefore[stage]
      given(...before[stage])
        .when(rescan, pipeline)
        .refused(new FileNotReleased({ fileId, state }))
      given(...before[stage])
        .when(bad, pipeline)
        .refused(new FileNotReleased({ fileId, state }))
    }
    given(received, rejected("identify"))
      .when(rescan, pipeline)
      .refused(new FileNotReleased({ fileId, state: "rejected" }))
    for (const command of [rescan, bad, withdraw]) given().when(command, pipeline).refused(new FileNotFound({ fileId }))
  })

  it("takes up states and events from before files were looked at again", () => {
    const old = evolveAll(AttachmentDecider, null, wholeWay)
    expect(old).not.toHaveProperty("isRescanPending")
    expect(Schema.decodeUnknownSync(Attachment)(old)).toEqual(old)
  })
})

describe("whatever is said to a file", () => {
  const Said = Schema.Literals([
    "RegisterFile",
    "RetryFile",
    "RescanFile",
    "WithdrawFile",
    "Clean",
    "Bad",
    "Failed",
    "identify",
    "scan",
    "convert",
    "release",
    "reject",
    "park"
  ])
  type Said = typeof Said.Type
  const found = { reason: "malware", detail: "found" } as const
  const looked = (outcome: RescanOutcome) => ({ _tag: "RecordFileRescan", fileId, outcome, tool, durationMs }) as const
  const commands = (next: FileStage): { readonly [S in Said]: FileCommand } => ({
    RegisterFile: { _tag: "RegisterFile", ...facts },
    RetryFile: { _tag: "RetryFile", fileId },
    RescanFile: { _tag: "RescanFile", fileId },
    WithdrawFile: { _tag: "WithdrawFile", fileId, ...found, tool },
    Clean: looked({ _tag: "Clean" }),
    Bad: looked({ _tag: "Bad", ...found }),
    Failed: looked({ _tag: "Failed", detail: "it crashed" }),
    identify: record("identify"),
    scan: record("scan"),
    convert: record("convert"),
    release: record("release"),
    reject: record(next, { _tag: "Rejected", ...found }),
    park: record(next, { _tag: "Failed", detail: "it crashed" })
  })
  const toCommand = (said: Said, state: AttachmentState | null): FileCommand =>
    commands((state === null ? null : nextStage(state)) ?? "identify")[said]

  it.prop(
    "its states follow one another as they may, its end is one, and its events give its state",
    [Schema.Array(Said).check(Schema.isBetweenLength(20, 80))],
    ([sayings]) => {
      let state: AttachmentState | null = null
      const events: Array<FileEvent> = []
      // Most files come through, so that what is said afterwards meets a released one.
      for (const said of ["RegisterFile" as const, ...stages, ...sayings]) {
        const before: AttachmentState | null = state
        const decided = AttachmentDecider.decide(before, toCommand(said, before), context)
        const made = Result.getOrElse(decided, () => [])
        expect(made.length).toBeLessThanOrEqual(1)
        state = evolveAll(AttachmentDecider, before, made)
        events.push(...made)
        if (before?.state === "rejected" || before?.state === "withdrawn") expect(made).toEqual([])
        if (state?.state === "withdrawn") expect(events.some(({ _tag }) => _tag === "FileReleased")).toBe(true)
        if (state?.isRescanPending === true) expect(state.state).toBe("released")
        if (state !== null) expect(state.parkedAt !== null).toBe(state.state === "parked")
        // Saying the same again is no news.
        const again = AttachmentDecider.decide(state, toCommand(said, before), context)
        if (said !== "RetryFile" && Result.isSuccess(decided)) expect(Result.getOrElse(again, () => [])).toEqual([])
      }
      expect(evolveAll(AttachmentDecider, null, events)).toEqual(state)
    },
    { arbitrary: { runs: 200 } }
  )
})

it("content of an unknown type is told as bytes", () => {
  const state = evolveAll(AttachmentDecider, null, [received])
  expect(state === null ? null : contentOf(state).mediaType).toBe("application/octet-stream")
})
