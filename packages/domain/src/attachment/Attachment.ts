// The file pipeline as a state machine: received, identified, scanned, converted, released; or rejected at any stage; or parked
// until somebody retries. A released file may be looked at again, any number of times, and is withdrawn for good when it is found bad.
// Recording a stage again changes nothing, so a stage that ran twice counts once.
import type { FileCommand, FileRefusal, StageReport } from "@holdfast/contracts/attachment/Commands"
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
  parkedAt: Schema.NullOr(FileStage),
  /** Asked for, and not done yet. Absent in states older than this field. */
  isRescanPending: Schema.optionalKey(Schema.Boolean)
})
export type Attachment = typeof Attachment.Type

type Decision = Result.Result<ReadonlyArray<FileEvent>, FileRefusal>
type RecordFileStages = Extract<FileCommand, { readonly _tag: "RecordFileStages" }>
type RegisterFile = Extract<FileCommand, { readonly _tag: "RegisterFile" }>
type RecordFileRescan = Extract<FileCommand, { readonly _tag: "RecordFileRescan" }>
type WithdrawFile = Extract<FileCommand, { readonly _tag: "WithdrawFile" }>

const stages: ReadonlyArray<FileStage> = ["identify", "scan", "convert", "release"]
export const stateAfter = {
  identify: "identified",
  scan: "scanned",
  convert: "converted",
  release: "released"
} as const
/** What a file waits as for each stage; a retried file goes back to it. */
export const stateBefore = {
  identify: "received",
  scan: "identified",
  convert: "scanned",
  release: "converted"
} as const

/** The stage that a file waits for; null once it is released, rejected, parked or withdrawn. */
export const nextStage = (file: Pick<Attachment, "state">): FileStage | null =>
  stages.find((stage) => stateBefore[stage] === file.state) ?? null

const decide = (state: Attachment | null, command: FileCommand): Decision => {
  if (command._tag === "RegisterFile") return register(state, command)
  if (state === null) return Result.fail(new FileNotFound({ fileId: command.fileId }))
  switch (command._tag) {
    case "RetryFile":
      return Result.succeed(
        state.parkedAt === null ? [] : [FileRetried.make({ fileId: state.fileId, stage: state.parkedAt })]
      )
    case "RecordFileStages":
      return recordStages(state, command)
    case "RescanFile":
      return requestRescan(state)
    case "RecordFileRescan":
      return recordRescan(state, command)
    case "WithdrawFile":
      return Result.succeed(withdraw(state, command))
  }
}

const register = (state: Attachment | null, command: RegisterFile): Decision => {
  const { _tag, ...facts } = command
  if (state === null) return Result.succeed([FileReceived.make(facts)])
  return state.sha256 === command.sha256 && state.ownerId === command.ownerId
    ? Result.succeed([])
    : Result.fail(new FileAlreadyRegistered({ fileId: command.fileId }))
}

/** Each as it would be decided alone, one after the other. */
const recordStages = (state: Attachment, command: RecordFileStages): Decision => {
  const after = (events: ReadonlyArray<FileEvent>) => events.reduce((file, event) => evolve(file, event) ?? file, state)
  return command.stages.reduce<Decision>(
    (decided, report) =>
      Result.flatMap(decided, (events) =>
        Result.map(recordStage(after(events), report), (more) => [...events, ...more])
      ),
    Result.succeed([])
  )
}

const recordStage = (state: Attachment, report: StageReport): Decision => {
  const { fileId } = state
  const { stage } = report
  const refused = Result.fail(new FileStageNotExpected({ fileId, state: state.state, stage }))
  if (nextStage(state) !== stage) return isBehind(state, stage) ? Result.succeed([]) : refused
  const event = stageEvent(state, report)
  return event === null ? refused : Result.succeed([event])
}

/** The stage was recorded before, or the file has ended: a repeated report is no news. */
const isBehind = (state: Attachment, stage: FileStage): boolean => {
  if (state.state === "rejected" || state.state === "released" || state.state === "withdrawn") return true
  const next = nextStage(state)
  return next !== null && stages.indexOf(stage) < stages.indexOf(next)
}

const stageEvent = (state: Attachment, { durationMs, outcome, stage, tool }: StageReport): FileEvent | null => {
  const { fileId } = state
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

/** Asking again for what is asked for already is no news. */
const requestRescan = (state: Attachment): Decision => {
  const { fileId } = state
  if (state.state !== "released") return Result.fail(new FileNotReleased({ fileId, state: state.state }))
  return Result.succeed(state.isRescanPending === true ? [] : [FileRescanRequested.make({ fileId })])
}

const recordRescan = (state: Attachment, command: RecordFileRescan): Decision => {
  const { durationMs, fileId, outcome, tool } = command
  if (state.state !== "released" && state.state !== "withdrawn") {
    return Result.fail(new FileNotReleased({ fileId, state: state.state }))
  }
  // Reported before, or withdrawn meanwhile for what another file with this content was found to be.
  if (state.state === "withdrawn" || state.isRescanPending !== true) return Result.succeed([])
  switch (outcome._tag) {
    case "Clean":
      return Result.succeed([FileRescanned.make({ fileId, ...factsOf(outcome), tool, durationMs })])
    case "Failed":
      return Result.succeed([FileRescanFailed.make({ fileId, ...factsOf(outcome), tool, durationMs })])
    case "Bad":
      return Result.succeed([FileWithdrawn.make({ fileId, ...factsOf(outcome), tool, durationMs })])
  }
}

/** What waits for its scan is left to it. What is beyond was scanned before the content was found bad, and is not to be released. */
const withdraw = (state: Attachment, { detail, fileId, reason, tool }: WithdrawFile): ReadonlyArray<FileEvent> => {
  if (state.state === "released") return [FileWithdrawn.make({ fileId, reason, detail, tool })]
  const next = state.parkedAt ?? nextStage(state)
  const isScanned = next === "convert" || next === "release"
  return isScanned ? [FileRejected.make({ fileId, stage: "scan", reason, detail, tool, durationMs: 0 })] : []
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
      return { ...state, state: "rejected", parkedAt: null }
    case "FileParked":
      return { ...state, state: "parked", parkedAt: event.stage }
    case "FileRetried":
      return { ...state, state: stateBefore[event.stage], parkedAt: null }
    case "FileRescanRequested":
      return { ...state, isRescanPending: true }
    case "FileRescanned":
    case "FileRescanFailed":
      return { ...state, isRescanPending: false }
    case "FileWithdrawn":
      return { ...state, state: "withdrawn", isRescanPending: false }
  }
}

export const AttachmentDecider: Decider<Attachment, FileCommand, FileEvent, FileRefusal> = { decide, evolve }
