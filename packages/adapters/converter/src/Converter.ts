// Making safe copies: an image is decoded and encoded again, without metadata, within limits on pixels, time and memory.
import type { RejectionReason, Tool } from "@holdfast/contracts/attachment/Stages"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect } from "effect"

export interface Converted {
  readonly kind: "original" | "thumbnail"
  readonly mediaType: string
  readonly bytes: Uint8Array
}

export type Conversion =
  /** Nothing made when the type has no conversion. */
  | { readonly _tag: "Converted"; readonly tool: Tool; readonly outputs: ReadonlyArray<Converted> }
  | { readonly _tag: "Bad"; readonly tool: Tool; readonly reason: RejectionReason; readonly detail: string }

export class Converter extends Context.Service<
  Converter,
  {
    /** `path` is a private copy on disk, which the converter only reads. The same bytes and tool version give the same outcome. */
    convert(path: string, mediaType: string): Effect.Effect<Conversion, Unavailable>
  }
>()("@holdfast/converter/Converter") {}
