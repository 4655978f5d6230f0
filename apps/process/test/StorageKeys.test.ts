// The keys for object storage come from a variable or a file, stay hidden, and are missed by name.
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { Settings } from "../src/Config.ts"
import { storageKeys } from "../src/StorageKeys.ts"

const read = (env: Record<string, string>) => Effect.provide(storageKeys, Settings.fromEnv(env))
const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-keys-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

it.effect("are read from a variable, or from the file that one names", () =>
  Effect.gen(function* () {
    const file = join(yield* folder, "secret")
    yield* Effect.promise(() => writeFile(file, "secret\n"))
    const keys = yield* read({ HOLDFAST_STORAGE_ACCESS_KEY: "access", HOLDFAST_STORAGE_SECRET_KEY_FILE: file })
    expect([Redacted.value(keys.accessKey), Redacted.value(keys.secretKey)]).toEqual(["access", "secret"])
    expect(JSON.stringify(keys)).not.toMatch(/access"|secret"/)
  })
)

it.effect("are missed by the name of their variable, with what to do", () =>
  Effect.gen(function* () {
    const none = yield* Effect.flip(read({ HOLDFAST_STORAGE_ACCESS_KEY: "access" }))
    expect(none.message).toMatch(/^HOLDFAST_STORAGE_SECRET_KEY is not set.*HOLDFAST_STORAGE_SECRET_KEY_FILE/)
    const missing = yield* Effect.flip(read({ HOLDFAST_STORAGE_ACCESS_KEY_FILE: "/nowhere/key" }))
    expect(missing.message).toMatch(/^HOLDFAST_STORAGE_ACCESS_KEY_FILE is not valid: \/nowhere\/key cannot be read/)
    const empty = join(yield* folder, "empty")
    yield* Effect.promise(() => writeFile(empty, " \n"))
    const nothing = yield* Effect.flip(read({ HOLDFAST_STORAGE_ACCESS_KEY_FILE: empty }))
    expect(nothing.message).toContain("is empty")
    expect(nothing.exitCode).toBe(78)
  })
)
