// Making safe copies: an image is decoded and encoded again, without metadata, within limits on pixels, time and memory; of a document's
// first page a picture is made. What is not made, and why, is said.
import type { RejectionReason, Tool } from "@holdfast/contracts/attachment/Stages"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect } from "effect"

export interface Converted {
  readonly kind: "original" | "thumbnail" | "preview"
  readonly mediaType: string
  readonly bytes: Uint8Array
}

export type Conversion =
  /** Nothing made when the type has no conversion; `detail` says what was not made, and why. */
  | {
      readonly _tag: "Converted"
      readonly tool: Tool
      readonly outputs: ReadonlyArray<Converted>
      readonly detail?: string
    }
  | { readonly _tag: "Bad"; readonly tool: Tool; readonly reason: RejectionReason; readonly detail: string }

const pictures = new Set(["image/png", "image/apng", "image/jpeg", "image/webp", "image/gif", "image/tiff"])
const officeDocument =
  /^application\/(msword|vnd\.ms-(excel|powerpoint)|vnd\.openxmlformats-officedocument\..+|vnd\.oasis\.opendocument\.(text|spreadsheet|presentation)|rtf)$/

export type Conversions = "picture" | "pdf" | "office" | "none"

/** What can be made of a type: a copy and a thumbnail, a picture of the first page, or nothing. */
export const conversionOf = (mediaType: string): Conversions => {
  if (pictures.has(mediaType)) return "picture"
  if (mediaType === "application/pdf") return "pdf"
  return officeDocument.test(mediaType) ? "office" : "none"
}

export class Converter extends Context.Service<
  Converter,
  {
    /** `path` is a private copy on disk, which the converter only reads. The same bytes and tool version give the same outcome. */
    convert(path: string, mediaType: string): Effect.Effect<Conversion, Unavailable>
  }
>()("@holdfast/converter/Converter") {}
