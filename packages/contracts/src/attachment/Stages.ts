// The stages of the file pipeline and what each one found. A file goes received, identified, scanned, converted, then released
// or rejected; a stage that keeps failing parks the file until somebody retries it. A released file is looked at again when the
// scanner's signatures have changed, and withdrawn if it is found bad.
import { Schema } from "effect"
import { Sha256 } from "../Ids.ts"
import { Line } from "../Text.ts"

export const FileState = Schema.Literals([
  "received",
  "identified",
  "scanned",
  "converted",
  "released",
  "rejected",
  "parked",
  "withdrawn"
])
export type FileState = typeof FileState.Type

export const FileStage = Schema.Literals(["identify", "scan", "convert", "release"])
export type FileStage = typeof FileStage.Type

/** What a timeline tells of: the stages, and that a released file was looked at again. */
export const TimelineStage = Schema.Literals([...FileStage.literals, "rescan"])
export type TimelineStage = typeof TimelineStage.Type

export const MediaType = Schema.String.check(
  Schema.isPattern(/^[a-z0-9][a-z0-9!#$&^_.+-]{0,63}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$/, { expected: "a media type" })
)

/** Which tool did a stage, exactly enough to say whether running it again could end differently. */
export const Tool = Schema.Struct({
  name: Line(100),
  version: Line(100),
  signatureVersion: Schema.optionalKey(Line(100))
})
export type Tool = typeof Tool.Type

/**
 * Something made from the original. `original` is the re-encoded image that stands in for the uploaded bytes, `preview` a picture of a
 * document's first page.
 */
export const Derivative = Schema.Struct({
  kind: Schema.Literals(["original", "thumbnail", "preview"]),
  sha256: Sha256,
  sizeBytes: Schema.Natural,
  mediaType: MediaType
})
export type Derivative = typeof Derivative.Type

export const RejectionReason = Schema.Literals([
  "malware",
  "type_mismatch",
  "type_not_allowed",
  "encrypted",
  "limits_exceeded",
  "malformed",
  "empty"
])
export type RejectionReason = typeof RejectionReason.Type
