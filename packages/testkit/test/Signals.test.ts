// Waiting ends when the thing happens, and says what did not.
import { expect, it } from "@effect/vitest"
import { Duration, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { eventually, makeSignals, NeverHappened } from "../src/Signals.ts"

it.effect("a signal is heard by who waits and by who comes late, and is counted", () =>
  Effect.gen(function* () {
    const { send, wait } = yield* makeSignals
    const early = yield* Effect.forkChild(wait("relayed", 2), { startImmediately: true })
    yield* send("relayed")
    yield* send("other")
    expect(early.pollUnsafe()).toBeUndefined()
    yield* send("relayed")
    yield* Fiber.join(early)
    yield* wait("relayed")
    yield* wait("relayed", 2)
  })
)

it.effect("eventually asks until the answer is right", () =>
  Effect.gen(function* () {
    let asked = 0
    const answer = yield* Effect.forkChild(
      eventually(
        "three",
        Effect.sync(() => ++asked),
        (count) => count === 3
      )
    )
    yield* TestClock.adjust("1 second")
    expect(yield* Fiber.join(answer)).toBe(3)
  })
)

it.effect("eventually says what it saw last when it never is", () =>
  Effect.gen(function* () {
    const answer = yield* Effect.forkChild(
      Effect.flip(
        eventually("the sky falls", Effect.succeed("blue"), (colour) => colour === "red", Duration.seconds(1))
      )
    )
    yield* TestClock.adjust("1 second")
    expect(yield* Fiber.join(answer)).toEqual(new NeverHappened({ what: "the sky falls", last: "blue" }))
  })
)
