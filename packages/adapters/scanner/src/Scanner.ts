// The malware scanner's port.
import type { RejectionReason, Tool } from "@holdfast/contracts/attachment/Stages"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect, type Stream } from "effect"

export type Verdict =
  | { readonly _tag: "Clean"; readonly tool: Tool }
  | { readonly _tag: "Bad"; readonly tool: Tool; readonly reason: RejectionReason; readonly detail: string }

export interface ScanRequest {
  readonly content: Stream.Stream<Uint8Array, Unavailable>
  readonly sizeBytes: number
  readonly name: string
  /** As identified from the content. */
  readonly mediaType: string
}

export class Scanner extends Context.Service<
  Scanner,
  {
    /** The verdict names the tool and its signature version. A scanner that is away or too slow is `Unavailable`: the file waits. */
    scan(request: ScanRequest): Effect.Effect<Verdict, Unavailable>
    /** Tool and signature version in force now. */
    readonly tool: Effect.Effect<Tool, Unavailable>
  }
>()("@holdfast/scanner/Scanner") {}
