// The file pipeline as a state machine: received, identified, scanned, converted, released; or rejected at any stage; or parked
// until somebody retries. Recording a stage again changes nothing, so a stage that ran twice counts once.
import type { FileCommand, FileRefusal, StageOutcome } from "@holdfast/contracts/attachment/Commands"
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
import { Derivative, FileStage, FileState, MediaType } from "@holdfast/contracts/attachment/Stages"
import { FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { Result, Schema } from "effect"
import type { Decider } from "../Decider.ts"

export const Attachment = Schema.Struct({
  fileId: FileId,
  ownerId: PrincipalId,
  sha256: Sha256,
  sizeBytes: Schema.Natural,
  declaredType: MediaType,
  mediaType: Schema.NullOr(MediaType),
  derivatives: Schema.Array(Derivative),
  state: FileState,
  /** The stage that a parked file failed at. */
  parkedAt: Schema.NullOr(FileStage)
})
export type Attachment = typeof Attachment.Type

type Decision = Result.Result<ReadonlyArray<FileEvent>, FileRefusal>
type RecordFileStage = Extract<FileCommand, { readonly _tag: "RecordFileStage" }>
type RegisterFile = Extract<FileCommand, { readonly _tag: "RegisterFile" }>

const stages: ReadonlyArray<FileStage> = ["identify", "scan", "convert", "release"]
const stateAfter = { identify: "identified", scan: "scanned", convert: "converted", release: "released" } as const
/** What a file waits as for each stage; a retried file goes back to it. */
export const stateBefore = {
  identify: "received",
  scan: "identified",
  convert: "scanned",
  release: "converted"
} as const

/** The stage that a file waits for; null once it is released, rejected or parked. */
export const nextStage = (file: Pick<Attachment, "state">): FileStage | null =>
  stages.find((stage) => stateBefore[stage] === file.state) ?? null

const decide = (state: Attachment | null, command: FileCommand): Decision => {
  if (command._tag === "RegisterFile") return register(state, command)
  if (state === null) return Result.fail(new FileNotFound({ fileId: command.fileId }))
  if (command._tag === "RetryFile") {
    return Result.succeed(
      state.parkedAt === null ? [] : [FileRetried.make({ fileId: state.fileId, stage: state.parkedAt })]
    )
  }
  return recordStage(state, command)
}

const register = (state: Attachment | null, command: RegisterFile): Decision => {
  const { _tag, ...facts } = command
  if (state === null) return Result.succeed([FileReceived.make(facts)])
  return state.sha256 === command.sha256 && state.ownerId === command.ownerId
    ? Result.succeed([])
    : Result.fail(new FileAlreadyRegistered({ fileId: command.fileId }))
}

const recordStage = (state: Attachment, command: RecordFileStage): Decision => {
  const { fileId, stage } = command
  const refused = Result.fail(new FileStageNotExpected({ fileId, state: state.state, stage }))
  if (nextStage(state) !== stage) return isBehind(state, stage) ? Result.succeed([]) : refused
  const event = stageEvent(state, command, command.outcome)
  return event === null ? refused : Result.succeed([event])
}

/** The stage was recorded before, or the file has ended: a repeated report is no news. */
const isBehind = (state: Attachment, stage: FileStage): boolean => {
  if (state.state === "rejected" || state.state === "released") return true
  const next = nextStage(state)
  return next !== null && stages.indexOf(stage) < stages.indexOf(next)
}

const stageEvent = (state: Attachment, command: RecordFileStage, outcome: StageOutcome): FileEvent | null => {
  const { durationMs, fileId, stage, tool } = command
  switch (outcome._tag) {
    case "Rejected":
      return FileRejected.make({ fileId, stage, reason: outcome.reason, detail: outcome.detail, tool, durationMs })
    case "Failed":
      return FileParked.make({ fileId, stage, detail: outcome.detail, tool, durationMs })
    case "Identified":
      return stage === "identify"
        ? FileIdentified.make({ fileId, mediaType: outcome.mediaType, tool, durationMs })
        : null
    case "Clean":
      return stage === "scan" ? FileScanned.make({ fileId, ...factsOf(outcome), tool, durationMs }) : null
    case "Converted":
      return stage === "convert" ? FileConverted.make({ fileId, ...factsOf(outcome), tool, durationMs }) : null
    case "Released":
      return stage === "release" ? FileReleased.make({ fileId, content: contentOf(state), tool, durationMs }) : null
  }
}

const factsOf = <A extends { readonly _tag: string }>({ _tag, ...facts }: A): Omit<A, "_tag"> => facts

/** What a download gives: the re-encoded image where there is one, else the uploaded bytes. */
export const contentOf = (state: Attachment): FileReleased["content"] => {
  const { mediaType, sha256, sizeBytes } = state.derivatives.find((derivative) => derivative.kind === "original") ?? {
    sha256: state.sha256,
    sizeBytes: state.sizeBytes,
    mediaType: state.mediaType ?? "application/octet-stream"
  }
  return { sha256, sizeBytes, mediaType }
}

const evolve = (state: Attachment | null, event: FileEvent): Attachment | null => {
  if (event._tag === "FileReceived") {
    const { declaredType, fileId, ownerId, sha256, sizeBytes } = event
    const facts = { fileId, ownerId, sha256, sizeBytes, declaredType }
    return { ...facts, mediaType: null, derivatives: [], state: "received", parkedAt: null }
  }
  if (state === null) return null
  switch (event._tag) {
    case "FileIdentified":
      return { ...state, state: stateAfter.identify, mediaType: event.mediaType }
    case "FileScanned":
      return { ...state, state: stateAfter.scan }
    case "FileConverted":
      return { ...state, state: stateAfter.convert, derivatives: event.derivatives }
    case "FileReleased":
      return { ...state, state: stateAfter.release }
    case "FileRejected":
      return { ...state, state: "rejected" }
    case "FileParked":
      return { ...state, state: "parked", parkedAt: event.stage }
    case "FileRetried":
      return { ...state, state: stateBefore[event.stage], parkedAt: null }
  }
}

export const AttachmentDecider: Decider<Attachment, FileCommand, FileEvent, FileRefusal> = { decide, evolve }
