// The commands on a file. Only the file pipeline issues them: an upload is registered once, then each stage reports its outcome.
import { Schema } from "effect"
import { defineCommand } from "../Command.ts"
import { FileId, PrincipalId, Sha256, TicketId } from "../Ids.ts"
import { FileName, Line } from "../Text.ts"
import { FileAlreadyRegistered, FileNotFound, FileStageNotExpected } from "./Refusals.ts"
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

export const RecordFileStage = defineCommand({
  name: "RecordFileStage",
  summary: "Record the outcome of one pipeline stage. A stage that is already recorded is not recorded again.",
  streamType: "file",
  streamIdField: "fileId",
  fields: { fileId: FileId, stage: FileStage, outcome: StageOutcome, tool: Tool, durationMs: Schema.Natural },
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

export const fileCommands = [RegisterFile, RecordFileStage, RetryFile] as const

export type FileCommand = (typeof fileCommands)[number]["command"]["Type"]
export type FileRefusal = (typeof fileCommands)[number]["refusals"][number]["Type"]
