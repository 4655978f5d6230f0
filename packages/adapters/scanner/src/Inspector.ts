// Looks into what has something inside (archives, e-mails, PDFs, XML with entities) before a scanner's verdict counts. A scanner passes what
// it cannot open or gives up on; an inspector says so, and the desk's policy decides.
import type { RejectionReason, Tool } from "@holdfast/contracts/attachment/Stages"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect, type Stream } from "effect"

export type Inspection =
  | { readonly _tag: "Passed"; readonly tool: Tool }
  /** Not all of it can be looked into: encrypted, beyond the expansion budget, or of a kind that nobody here opens. Policy decides. */
  | { readonly _tag: "Opaque"; readonly tool: Tool; readonly reason: RejectionReason; readonly detail: string }
  | { readonly _tag: "Bad"; readonly tool: Tool; readonly reason: RejectionReason; readonly detail: string }

export interface InspectionRequest {
  readonly content: Stream.Stream<Uint8Array, Unavailable>
  /** The first and the last bytes, as many as `Limits.Inspection` says: most files show there that nothing is inside. */
  readonly head: Uint8Array
  readonly tail: Uint8Array
}

export class Inspector extends Context.Service<
  Inspector,
  {
    /** The same bytes and the same tool give the same inspection. `Unavailable` when this machine cannot inspect just now. */
    inspect(request: InspectionRequest): Effect.Effect<Inspection, Unavailable>
  }
>()("@holdfast/scanner/Inspector") {}
