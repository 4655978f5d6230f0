// What a subscription hears from its line, whatever carries it, and why it ends.
import { Schema } from "effect"
import type { Desk } from "./Desk.ts"

export type FeedState = "live" | "stale"

export type Ended =
  /** Come back, after so long at the least. */
  | { readonly type: "cut"; readonly adviceMs: number; readonly detail: string }
  | { readonly type: "tokenRefused"; readonly detail: string }
  /** The desk no longer holds what comes next. */
  | { readonly type: "resync" }
  /** It cannot go on: the client is wrong. */
  | { readonly type: "fatal"; readonly code: string; readonly message: string }

export interface Subscriber {
  readonly query: string
  readonly variables: Record<string, unknown> & { after?: number | null }
  readonly next: (position: number, data: unknown) => void
  /** It is no feed of events: `next` is given 0 for a position. */
  readonly hasNoPositions?: true
  /** The feed's state, and where it is when this subscription has everything up to there. */
  readonly feed: (state: FeedState, position: number | null) => void
  /** Once; nothing follows. */
  readonly ended: (why: Ended) => void
}

const FeedReport = Schema.Struct({
  feed: Schema.Struct({ state: Schema.Literals(["live", "stale"]), position: Schema.optionalKey(Schema.Natural) })
})
export const decodeReport = Schema.decodeUnknownResult(FeedReport)
export const decodeNext = Schema.decodeUnknownResult(
  Schema.Struct({ feed: Schema.Struct({ position: Schema.Natural }) })
)

/** Sessions of one desk come one after the other; the next one asks for another token. */
export const refusedBy = new WeakSet<Desk>()

export const cut = (detail: string, adviceMs = 0): Ended => ({ type: "cut", adviceMs, detail })

export const decodeErrors = Schema.decodeUnknownResult(
  Schema.NonEmptyArray(
    Schema.Struct({
      message: Schema.String,
      extensions: Schema.optionalKey(Schema.Struct({ code: Schema.optionalKey(Schema.String) }))
    })
  )
)

export const refusalOf = ({
  extensions,
  message
}: {
  readonly message: string
  readonly extensions?: { readonly code?: string }
}): Ended => {
  const code = extensions?.code ?? "INTERNAL"
  if (code === "RESYNC_REQUIRED") return { type: "resync" }
  if (code === "INTERNAL" || code === "TOO_MANY_OPERATIONS") return cut(message)
  return { type: "fatal", code, message }
}
