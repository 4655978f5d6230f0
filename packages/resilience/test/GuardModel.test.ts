// The guard against a model that fits in one's head: after any run of outcomes, a call is let through exactly when the model's
// breakers are closed; and once the dependency answers again, the guard always heals.
import { expect, it } from "@effect/vitest"
import { Data, Duration, Effect, Fiber, Ref, Schema } from "effect"
import { TestClock } from "effect/testing"
import { makeGuard } from "../src/Guard.ts"
import { Health } from "../src/Health.ts"
import { Breaker } from "../src/Limits.ts"

class Broken extends Data.TaggedError("Broken") {}

const Step = Schema.Literals(["answered", "refused", "unreachable", "timeout"])
type Step = typeof Step.Type

/** Closed until three timeouts in a row (nothing but an answer ends the row), or half of the last 20 of at least 5 calls fail. */
const isOpenAfter = (steps: ReadonlyArray<Step>): boolean => {
  let inARow = 0
  const recent: Array<boolean> = []
  for (const step of steps) {
    if (step === "timeout") inARow++
    else if (step !== "unreachable") inARow = 0
    recent.push(step === "timeout" || step === "unreachable")
    if (recent.length > Breaker.windowCalls) recent.shift()
    const failures = recent.filter((failed) => failed).length
    const tooMany = failures > 0 && failures / recent.length >= Breaker.failureRatio
    if (inARow >= Breaker.consecutiveTimeouts || (recent.length >= Breaker.minimumCalls && tooMany)) return true
  }
  return false
}

const run = (steps: ReadonlyArray<Step>) =>
  Effect.gen(function* () {
    const alive = yield* Ref.make(false)
    const sent = yield* Ref.make(0)
    const guard = yield* makeGuard({
      dependency: "cache",
      deadline: Duration.millis(10),
      concurrencyMax: 1,
      acquireDeadline: Duration.millis(10),
      probe: Effect.flatMap(Ref.get(alive), (up) => (up ? Effect.void : Effect.fail(new Broken()))),
      toFailure: (error) => (error instanceof Broken ? { reason: "unreachable", detail: "gone" } : null)
    })
    const outcomes: Record<Step, Effect.Effect<void, string | Broken>> = {
      answered: Effect.void,
      refused: Effect.fail("refused"),
      unreachable: Effect.fail(new Broken()),
      timeout: Effect.never
    }
    let taken = 0
    for (const [index, step] of steps.entries()) {
      const call = guard.call(
        Effect.andThen(
          Ref.update(sent, (count) => count + 1),
          outcomes[step]
        )
      )
      const fiber = yield* Effect.forkChild(Effect.exit(call), { startImmediately: true })
      if (step === "timeout") yield* TestClock.adjust("10 millis")
      yield* Fiber.join(fiber)
      if (!isOpenAfter(steps.slice(0, index))) taken++
      expect(yield* Ref.get(sent)).toBe(taken)
    }
    yield* Ref.set(alive, true)
    yield* TestClock.adjust("20 seconds")
    yield* guard.call(Effect.void)
  })

it.effect.prop(
  "lets a call through exactly when the model does, and always heals",
  [Schema.Array(Step).check(Schema.isMaxLength(40))],
  ([steps]) => Effect.provide(Effect.scoped(run(steps)), Health.layer, { local: true }),
  { arbitrary: { runs: 200 } }
)
