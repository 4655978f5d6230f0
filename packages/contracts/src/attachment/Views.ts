// What readers see of a file: its state and the timeline of its stages.
import { Schema } from "effect"
import { FileId, Position, PrincipalId, Sha256, StreamVersion, TicketId } from "../Ids.ts"
import { Derivative, FileStage, FileState, MediaType, RejectionReason, Tool } from "./Stages.ts"

export const StageRecord = Schema.Struct({
  stage: FileStage,
  outcome: Schema.Literals(["passed", "rejected", "parked", "retried"]),
  detail: Schema.NullOr(Schema.String),
  tool: Schema.NullOr(Tool),
  durationMs: Schema.NullOr(Schema.Natural),
  at: Schema.DateTimeUtcFromString
})
export type StageRecord = typeof StageRecord.Type

export const FileView = Schema.Struct({
  id: FileId,
  version: StreamVersion,
  position: Position,
  name: Schema.String,
  sizeBytes: Schema.Natural,
  sha256: Sha256,
  declaredType: MediaType,
  mediaType: Schema.NullOr(MediaType),
  ownerId: PrincipalId,
  ticketId: Schema.NullOr(TicketId),
  state: FileState,
  rejection: Schema.NullOr(Schema.Struct({ reason: RejectionReason, detail: Schema.String })),
  content: Schema.NullOr(Schema.Struct({ sha256: Sha256, sizeBytes: Schema.Natural, mediaType: MediaType })),
  derivatives: Schema.Array(Derivative),
  /** The newest 64 stage records, oldest first. */
  timeline: Schema.Array(StageRecord),
  receivedAt: Schema.DateTimeUtcFromString,
  updatedAt: Schema.DateTimeUtcFromString
})
export type FileView = typeof FileView.Type
