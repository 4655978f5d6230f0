// What a machine is told that lacks something.
import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { runProgram } from "../src/Means.ts"

it.live("names the program that is not installed, and what it was for", () =>
  Effect.gen(function* () {
    const missing = yield* Effect.flip(runProgram("A test", "no-such-program", []))
    expect(missing.message).toBe('A test needs the program "no-such-program", which is not installed.')
  })
)

it.live("says what a program complained of", () =>
  Effect.gen(function* () {
    const failed = yield* Effect.flip(runProgram("A test", "sh", ["-c", "echo no >&2; exit 1"]))
    expect(failed.message).toBe('A test needs "sh -c echo no >&2; exit 1", which failed: no.')
  })
)
