// The commands on a file. Mostly the file pipeline issues them: an upload is registered once, then each stage reports its outcome. People
// send a file through again, or have a released one looked at again.
import { Schema } from "effect"
import { defineCommand } from "../Command.ts"
import { FileId, PrincipalId, Sha256, TicketId } from "../Ids.ts"
import { FileName, Line } from "../Text.ts"
import { FileAlreadyRegistered, FileNotFound, FileNotReleased, FileStageNotExpected } from "./Refusals.ts"
import { Derivative, FileStage, MediaType, RejectionReason, Tool } from "./Stages.ts"

export const RegisterFile = defineCommand({
  name: "RegisterFile",
  summary: "Register a completed upload. Repeating the same facts changes nothing.",
  streamType: "file",
  streamIdField: "fileId",
  fields: {
    fileId: FileId,
    name: FileName,
    sizeBytes: Schema.Natural,
    sha256: Sha256,
    declaredType: MediaType,
    ownerId: PrincipalId,
    ticketId: Schema.optionalKey(TicketId)
  },
  refusals: [FileAlreadyRegistered],
  roles: ["service"],
  path: "/v1/files"
})

/**
 * What a stage found. A stage that could not run reports `failed`, which parks the file; so does one whose finding is for a person to judge.
 * `inspector` looked inside before the scanner did; `detail` says what was not made, and why.
 */
export const StageOutcome = Schema.TaggedUnion({
  Identified: { mediaType: MediaType },
  Clean: { inspector: Schema.optionalKey(Tool) },
  Converted: {
    derivatives: Schema.Array(Derivative).check(Schema.isMaxLength(8)),
    detail: Schema.optionalKey(Line(500))
  },
  Released: {},
  Rejected: { reason: RejectionReason, detail: Line(500) },
  Failed: { detail: Line(500) }
})
export type StageOutcome = typeof StageOutcome.Type

const StageReport = Schema.Struct({ stage: FileStage, outcome: StageOutcome, tool: Tool, durationMs: Schema.Natural })
export type StageReport = typeof StageReport.Type

export const RecordFileStages = defineCommand({
  name: "RecordFileStages",
  summary:
    "Record the outcomes of pipeline stages that followed one another. A stage that is already recorded is not recorded again.",
  streamType: "file",
  streamIdField: "fileId",
  fields: {
    fileId: FileId,
    stages: Schema.NonEmptyArray(StageReport).check(Schema.isMaxLength(FileStage.literals.length))
  },
  refusals: [FileNotFound, FileStageNotExpected],
  roles: ["service"],
  path: "/v1/files/:fileId/stages"
})

export const RetryFile = defineCommand({
  name: "RetryFile",
  summary: "Send a parked file through the pipeline again, from the stage that failed.",
  streamType: "file",
  streamIdField: "fileId",
  fields: { fileId: FileId },
  refusals: [FileNotFound],
  roles: ["admin", "supervisor", "service"],
  path: "/v1/files/:fileId/retry"
})

export const RescanFile = defineCommand({
  name: "RescanFile",
  summary: "Have a released file looked at again. Asking again before that was done changes nothing.",
  streamType: "file",
  streamIdField: "fileId",
  fields: { fileId: FileId },
  refusals: [FileNotFound, FileNotReleased],
  roles: ["admin", "supervisor", "service"],
  path: "/v1/files/:fileId/rescan"
})

/** `Failed`: it could not be looked at, and stays released. */
export const RescanOutcome = Schema.TaggedUnion({
  Clean: { inspector: Schema.optionalKey(Tool) },
  Bad: { reason: RejectionReason, detail: Line(500) },
  Failed: { detail: Line(500) }
})
export type RescanOutcome = typeof RescanOutcome.Type

export const RecordFileRescan = defineCommand({
  name: "RecordFileRescan",
  summary:
    "Record what looking at a released file again has found. Bad content withdraws the file. Repeating it changes nothing.",
  streamType: "file",
  streamIdField: "fileId",
  fields: { fileId: FileId, outcome: RescanOutcome, tool: Tool, durationMs: Schema.Natural },
  refusals: [FileNotFound, FileNotReleased],
  roles: ["service"],
  path: "/v1/files/:fileId/rescan-outcome"
})

export const WithdrawFile = defineCommand({
  name: "WithdrawFile",
  summary:
    "Withdraw a file because its content was found bad in another file. One that is on its way and was scanned before that is rejected.",
  streamType: "file",
  streamIdField: "fileId",
  fields: { fileId: FileId, reason: RejectionReason, detail: Line(500), tool: Tool },
  refusals: [FileNotFound],
  roles: ["service"],
  path: "/v1/files/:fileId/withdrawal"
})

export const fileCommands = [
  RegisterFile,
  RecordFileStages,
  RetryFile,
  RescanFile,
  RecordFileRescan,
  WithdrawFile
] as const

export type FileCommand = (typeof fileCommands)[number]["command"]["Type"]
export type FileRefusal = (typeof fileCommands)[number]["refusals"][number]["Type"]
