// One trace through processes: the span under way as a W3C traceparent, and a traceparent as the parent of what follows.
import { Effect, Option, Tracer } from "effect"

/** Null outside any span. */
export const currentTraceparent: Effect.Effect<string | null> = Effect.map(
  Effect.option(Effect.currentParentSpan),
  Option.match({
    onNone: () => null,
    onSome: ({ sampled, spanId, traceId }) => `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`
  })
)

const form = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/
const nothing = /^0+$/

/** What runs inside belongs to the trace of whoever sent this traceparent; null, or one that is not valid, changes nothing. */
export const withRemoteParent =
  (traceparent: string | null) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
    const [, traceId = "0", spanId = "0", flags = "0"] = form.exec(traceparent ?? "") ?? []
    if (nothing.test(traceId) || nothing.test(spanId)) return self
    const sampled = (Number.parseInt(flags, 16) & 1) === 1
    return Effect.provideService(self, Tracer.ParentSpan, Tracer.externalSpan({ traceId, spanId, sampled }))
  }
