// One JSON object a line that a machine can read: with its trace, its annotations, and no secret.
import { expect, it, vi } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as Logs from "../src/Logs.ts"

const logged = <A, E>(self: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const spy = vi.spyOn(console, "log").mockImplementation(() => undefined)
    yield* Effect.provide(self, Logs.layer("command-api", "json"))
    const lines = spy.mock.calls.map(([line]) => String(line))
    spy.mockRestore()
    return lines
  })

it.effect("a line says when, how grave, which process, which trace, and what belongs to it", () =>
  Effect.gen(function* () {
    const correlationId = "019a0000-0000-7000-8000-000000000001"
    const [line = ""] = yield* logged(
      Effect.logWarning("the cache is away").pipe(Effect.annotateLogs({ correlationId }), Effect.withSpan("work"))
    )
    const entry = JSON.parse(line)
    expect(entry).toMatchObject({ level: "WARN", process: "command-api", message: "the cache is away", correlationId })
    expect(entry.traceId).toMatch(/^[0-9a-f]{32}$/)
    expect(entry.spanId).toMatch(/^[0-9a-f]{16}$/)
    expect(new Date(entry.time).toISOString()).toBe(entry.time)
    expect(line).not.toContain("\n")
  })
)

it.effect("a failure is one line too, whole", () =>
  Effect.gen(function* () {
    const lines = yield* logged(
      Effect.tapCause(Effect.die(new Error("a bug\nof ours")), (cause) => Effect.logError(cause)).pipe(Effect.exit)
    )
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0] ?? "").cause).toContain("a bug")
  })
)

it.effect("secrets do not print", () =>
  Effect.gen(function* () {
    const secret = Redacted.make("hunter2")
    const lines = yield* logged(Effect.log("connecting", { secret }, secret).pipe(Effect.annotateLogs({ secret })))
    expect(lines.join()).not.toContain("hunter2")
  })
)

it.effect("what only a developer wants is left out", () =>
  Effect.gen(function* () {
    expect(yield* logged(Effect.logDebug("details"))).toEqual([])
  })
)
