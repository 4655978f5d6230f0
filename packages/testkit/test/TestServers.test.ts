// A live test without its server says what is missing.
import { afterEach, expect, it, vi } from "@effect/vitest"
import { Effect } from "effect"
import { freshPort, redisUrl } from "../src/TestServers.ts"

afterEach(() => vi.unstubAllEnvs())

it.effect("the variable is named when it is not set", () =>
  Effect.gen(function* () {
    vi.stubEnv("HOLDFAST_TEST_REDIS_URL", "")
    expect((yield* Effect.flip(redisUrl)).message).toContain("HOLDFAST_TEST_REDIS_URL is not set")
    vi.stubEnv("HOLDFAST_TEST_REDIS_URL", "redis://127.0.0.1:1")
    expect(yield* redisUrl).toBe("redis://127.0.0.1:1")
  })
)

it.effect("a fresh port is one", () =>
  Effect.gen(function* () {
    expect(yield* freshPort).toBeGreaterThan(0)
  })
)
