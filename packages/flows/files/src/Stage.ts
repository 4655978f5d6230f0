// What every stage of the pipeline gives back.
import type { StageOutcome } from "@holdfast/contracts/attachment/Commands"
import type { Tool } from "@holdfast/contracts/attachment/Stages"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import type { BlobCorrupt, BlobNotFound } from "@holdfast/storage/BlobStore"
import { Schema } from "effect"

export interface StageResult {
  readonly outcome: StageOutcome
  readonly tool: Tool
}

/** The stage cannot be done with this file, now or later, and it is not the file's content that is bad. */
export class StageImpossible extends Schema.TaggedError<StageImpossible>()("StageImpossible", {
  detail: Schema.String
}) {}

export type StageError = Unavailable | BlobNotFound | BlobCorrupt | StageImpossible
