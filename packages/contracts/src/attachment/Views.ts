// What readers see of a file: its state and the timeline of its stages.
import { Schema } from "effect"
import { FileId, Position, PrincipalId, Sha256, StreamVersion, TicketId } from "../Ids.ts"
import { Derivative, FileState, MediaType, RejectionReason, TimelineStage, Tool } from "./Stages.ts"

export const StageRecord = Schema.Struct({
  stage: TimelineStage,
  /** `requested`, `failed` and `withdrawn` are of a rescan, which may also be `passed`. */
  outcome: Schema.Literals(["passed", "rejected", "parked", "retried", "requested", "failed", "withdrawn"]),
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
  /** Why it was rejected or withdrawn. */
  rejection: Schema.NullOr(Schema.Struct({ reason: RejectionReason, detail: Schema.String })),
  content: Schema.NullOr(Schema.Struct({ sha256: Sha256, sizeBytes: Schema.Natural, mediaType: MediaType })),
  derivatives: Schema.Array(Derivative),
  /** At most 64 stage records, oldest first; of many, the oldest rescans that found nothing are left out first. */
  timeline: Schema.Array(StageRecord),
  receivedAt: Schema.DateTimeUtcFromString,
  updatedAt: Schema.DateTimeUtcFromString
})
export type FileView = typeof FileView.Type
