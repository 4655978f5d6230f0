import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Logger, References } from "effect"
import { TestClock } from "effect/testing"
import { keepRunning } from "../src/KeepRunning.ts"
import { KeepRunning as Limits } from "../src/Limits.ts"
import { Unavailable } from "../src/Unavailable.ts"

const away = new Unavailable({ dependency: "broker", reason: "unreachable", retryAfterMs: 1, detail: "not there" })

/** What keepRunning says and does with work that ends as told. */
const watch = (ends: Effect.Effect<void, unknown>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    let runs = 0
    const logger = Logger.make((options) => {
      lines.push(`${options.logLevel} ${String(options.message)}`)
    })
    const work = Effect.andThen(
      Effect.sync(() => runs++),
      ends
    )
    const fiber = yield* keepRunning("the work", work).pipe(
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, "Info"),
      Effect.forkScoped
    )
    yield* TestClock.adjust(Limits.pauseMin)
    yield* TestClock.adjust(Limits.pauseMax)
    return { lines, runs, fiber }
  })

describe("a forked worker that ends", () => {
  it.effect("by a defect is logged and started again: it is never silent", () =>
    Effect.gen(function* () {
      const { lines, runs } = yield* watch(Effect.die(new Error("a bug")))
      assert.isAtLeast(runs, 2)
      assert.match(lines[0] ?? "", /^Error the work died/)
    })
  )

  it.effect("by a typed failure is logged in a sentence and started again", () =>
    Effect.gen(function* () {
      const { lines, runs } = yield* watch(Effect.fail(away))
      assert.isAtLeast(runs, 2)
      assert.match(lines[0] ?? "", /^Warn the work broke off: broker unreachable, not there/)
    })
  )

  it.effect("by success is logged too: nothing said that it should end", () =>
    Effect.gen(function* () {
      const { lines, runs } = yield* watch(Effect.void)
      assert.isAtLeast(runs, 2)
      assert.match(lines[0] ?? "", /^Warn the work ended/)
    })
  )

  it.effect("by its own interruption stays ended", () =>
    Effect.gen(function* () {
      const { fiber, lines } = yield* watch(Effect.never)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(lines, [])
    })
  )
})
