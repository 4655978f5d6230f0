// What can happen to a file. Each stage records its tool, versions, duration and outcome, so that a timeline is a query.
import { Schema } from "effect"
import { FileId, PrincipalId, Sha256, TicketId } from "../Ids.ts"
import { FileName, Line } from "../Text.ts"
import { Derivative, FileStage, MediaType, RejectionReason, Tool } from "./Stages.ts"

const durationMs = Schema.Natural

export const FileReceived = Schema.TaggedStruct("FileReceived", {
  fileId: FileId,
  name: FileName,
  sizeBytes: Schema.Natural,
  sha256: Sha256,
  declaredType: MediaType,
  ownerId: PrincipalId,
  ticketId: Schema.optionalKey(TicketId)
})
export type FileReceived = typeof FileReceived.Type

export const FileIdentified = Schema.TaggedStruct("FileIdentified", {
  fileId: FileId,
  mediaType: MediaType,
  tool: Tool,
  durationMs
})
export type FileIdentified = typeof FileIdentified.Type

/** `inspector` looked inside before the scanner did; events before there was one do not name it. */
export const FileScanned = Schema.TaggedStruct("FileScanned", {
  fileId: FileId,
  tool: Tool,
  inspector: Schema.optionalKey(Tool),
  durationMs
})
export type FileScanned = typeof FileScanned.Type

/** `detail` says what was not made, and why. */
export const FileConverted = Schema.TaggedStruct("FileConverted", {
  fileId: FileId,
  derivatives: Schema.Array(Derivative).check(Schema.isMaxLength(8)),
  detail: Schema.optionalKey(Line(500)),
  tool: Tool,
  durationMs
})
export type FileConverted = typeof FileConverted.Type

/** `content` is what a download gives: the uploaded bytes, or the re-encoded image that replaced them. */
export const FileReleased = Schema.TaggedStruct("FileReleased", {
  fileId: FileId,
  content: Schema.Struct({ sha256: Sha256, sizeBytes: Schema.Natural, mediaType: MediaType }),
  /** Absent in the oldest events. */
  tool: Schema.optionalKey(Tool),
  durationMs: Schema.optionalKey(Schema.Natural)
})
export type FileReleased = typeof FileReleased.Type

export const FileRejected = Schema.TaggedStruct("FileRejected", {
  fileId: FileId,
  stage: FileStage,
  reason: RejectionReason,
  detail: Line(500),
  tool: Tool,
  durationMs
})
export type FileRejected = typeof FileRejected.Type

export const FileParked = Schema.TaggedStruct("FileParked", {
  fileId: FileId,
  stage: FileStage,
  detail: Line(500),
  /** Absent in the oldest events. */
  tool: Schema.optionalKey(Tool),
  durationMs: Schema.optionalKey(Schema.Natural)
})
export type FileParked = typeof FileParked.Type

/** Sent through the pipeline again, from the stage that had failed. */
export const FileRetried = Schema.TaggedStruct("FileRetried", { fileId: FileId, stage: FileStage })
export type FileRetried = typeof FileRetried.Type

/** A released file is to be looked at again. */
export const FileRescanRequested = Schema.TaggedStruct("FileRescanRequested", { fileId: FileId })
export type FileRescanRequested = typeof FileRescanRequested.Type

/** Looked at again, and still clean. */
export const FileRescanned = Schema.TaggedStruct("FileRescanned", {
  fileId: FileId,
  tool: Tool,
  inspector: Schema.optionalKey(Tool),
  durationMs
})
export type FileRescanned = typeof FileRescanned.Type

/** It could not be looked at again, for a reason of its own; it stays released. `tool` is the scanner that would have looked. */
export const FileRescanFailed = Schema.TaggedStruct("FileRescanFailed", {
  fileId: FileId,
  detail: Line(500),
  tool: Tool,
  durationMs
})
export type FileRescanFailed = typeof FileRescanFailed.Type

/** Found bad after its release: it gives its content to nobody any more, for good. */
export const FileWithdrawn = Schema.TaggedStruct("FileWithdrawn", {
  fileId: FileId,
  reason: RejectionReason,
  detail: Line(500),
  tool: Tool,
  /** Absent where another file with the same content was looked at. */
  durationMs: Schema.optionalKey(Schema.Natural)
})
export type FileWithdrawn = typeof FileWithdrawn.Type

export const FileEvent = Schema.Union([
  FileReceived,
  FileIdentified,
  FileScanned,
  FileConverted,
  FileReleased,
  FileRejected,
  FileParked,
  FileRetried,
  FileRescanRequested,
  FileRescanned,
  FileRescanFailed,
  FileWithdrawn
])
export type FileEvent = typeof FileEvent.Type
