// The desk's own tokens are accepted by its own key set, and its private key is nobody else's.
import { readFile, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { Health } from "@holdfast/resilience/Health"
import { Duration, Effect, Layer, Redacted } from "effect"
import { Identity } from "../src/Identity.ts"
import * as IdentityJwks from "../src/IdentityJwks.ts"
import { createKeySet, issueToken, publicKeySetFile } from "../src/Tokens.ts"
import { folder } from "./Issuer.ts"

const principal = { id: PrincipalId.make("grace"), role: "admin", name: "Grace" } as const

it.live("a token made here names its bearer", () =>
  Effect.gen(function* () {
    const directory = join(yield* folder, "keys")
    const own = { issuer: "holdfast", audience: "holdfast" }
    yield* createKeySet(directory)
    const token = yield* issueToken({ directory, ...own, principal, lifetime: Duration.minutes(5) })
    const layer = IdentityJwks.layer({ jwks: publicKeySetFile(directory), ...own })
    const verified = yield* Effect.provide(
      Identity.use(({ verify }) => verify(token)),
      Layer.provide(layer, Health.layer)
    )
    expect(verified.principal).toEqual(principal)
    expect(verified.expiresAtSeconds - Date.now() / 1000).toBeGreaterThan(290)
    expect(String(token)).not.toContain(Redacted.value(token))
  })
)

it.live("keys are made once, also by ten processes at once, and only their owner can read them", () =>
  Effect.gen(function* () {
    const directory = join(yield* folder, "keys")
    yield* Effect.all(
      Array.from({ length: 10 }, () => createKeySet(directory)),
      { concurrency: "unbounded" }
    )
    const read = Effect.promise(() => readFile(publicKeySetFile(directory), "utf8"))
    const before = yield* read
    yield* createKeySet(directory)
    expect(yield* read).toBe(before)
    expect(before).not.toContain('"d"')
    const privateKey = JSON.parse(yield* Effect.promise(() => readFile(join(directory, "private.jwk.json"), "utf8")))
    expect(JSON.parse(before).keys[0].x).toBe(privateKey.x)
    for (const file of ["jwks.json", "private.jwk.json"]) {
      expect((yield* Effect.promise(() => stat(join(directory, file)))).mode & 0o777).toBe(0o600)
    }
  })
)

it.live("a folder that cannot be written is one clear failure", () =>
  Effect.gen(function* () {
    const file = join(yield* folder, "file")
    yield* Effect.promise(() => writeFile(file, ""))
    const error = yield* Effect.flip(createKeySet(join(file, "keys")))
    expect(error.message).toContain(`Cannot make ${file}/keys`)
  })
)
