// A trace goes on where a traceparent arrives, and what is not a traceparent is ignored.
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { currentTraceparent, withRemoteParent } from "../src/TraceContext.ts"

const remote = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

it.effect("outside any span there is none", () =>
  Effect.gen(function* () {
    expect(yield* currentTraceparent).toBeNull()
  })
)

it.effect("inside a span it is that span's, in the form of W3C Trace Context", () =>
  Effect.gen(function* () {
    const span = yield* Effect.currentSpan
    expect(yield* currentTraceparent).toBe(`00-${span.traceId}-${span.spanId}-01`)
    expect(yield* currentTraceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  }).pipe(Effect.withSpan("work"))
)

describe("withRemoteParent", () => {
  it.effect("makes what runs inside part of the sender's trace", () =>
    Effect.gen(function* () {
      const span = yield* Effect.currentSpan.pipe(Effect.withSpan("work"), withRemoteParent(remote))
      expect(span.traceId).toBe("0af7651916cd43dd8448eb211c80319c")
      expect(span.spanId).not.toBe("b7ad6b7169203331")
    })
  )

  it.effect("keeps the sender's choice not to sample", () =>
    Effect.gen(function* () {
      const unsampled = `${remote.slice(0, -2)}00`
      expect(yield* withRemoteParent(unsampled)(currentTraceparent)).toBe(unsampled)
    })
  )

  it.effect.each([
    null,
    "",
    "x",
    "00-0-0-01",
    remote.toUpperCase(),
    `${remote}-more`,
    remote.replace(/[1-9a-f]/g, "0")
  ])("%s changes nothing", (sent) =>
    Effect.gen(function* () {
      expect(yield* withRemoteParent(sent)(currentTraceparent)).toBeNull()
    })
  )
})
