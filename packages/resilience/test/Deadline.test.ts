// MUST (deadline): an answer comes on time whatever the work does. `Effect.timeout` would wait for all of these.
import { expect, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { deadline } from "../src/Deadline.ts"

it.effect("MUST: answers on time though the work cannot be interrupted", () =>
  Effect.gen(function* () {
    const done = yield* Deferred.make<void>()
    const work = Effect.uninterruptible(Effect.andThen(Effect.sleep("1 minute"), Deferred.succeed(done, undefined)))
    const answer = yield* Effect.forkChild(Effect.flip(deadline("100 millis")(work)))
    yield* TestClock.adjust("100 millis")
    expect(Cause.isTimeoutError(yield* Fiber.join(answer))).toBe(true)
    yield* TestClock.adjust("1 minute")
    yield* Deferred.await(done)
  })
)

it.effect("answers on time though a finalizer takes long", () =>
  Effect.gen(function* () {
    const work = Effect.onInterrupt(Effect.never, () => Effect.sleep("1 minute"))
    const answer = yield* Effect.forkChild(Effect.flip(deadline("100 millis")(work)))
    yield* TestClock.adjust("100 millis")
    expect(Cause.isTimeoutError(yield* Fiber.join(answer))).toBe(true)
  })
)

it.effect("gives the work's own answer, refusal or defect when it is in time", () =>
  Effect.gen(function* () {
    expect(yield* deadline("1 second")(Effect.succeed(7))).toBe(7)
    expect(yield* Effect.flip(deadline("1 second")(Effect.fail("no")))).toBe("no")
    const exit = yield* Effect.exit(deadline("1 second")(Effect.die(new Error("broken"))))
    expect(Exit.isFailure(exit) && Cause.hasDies(exit.cause)).toBe(true)
  })
)

it.effect("interrupts the work when the caller goes away", () =>
  Effect.gen(function* () {
    const interrupted = yield* Deferred.make<void>()
    const work = Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
    const caller = yield* Effect.forkChild(deadline("1 hour")(work), { startImmediately: true })
    yield* Fiber.interrupt(caller)
    yield* Deferred.await(interrupted)
  })
)
