// Who gets in and who does not.
import { rename, writeFile } from "node:fs/promises"
import { describe, expect, it } from "@effect/vitest"
import { Unauthenticated } from "@holdfast/contracts/CommandErrors"
import { Health } from "@holdfast/resilience/Health"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { exportSPKI, importJWK, SignJWT } from "jose"
import { Identity } from "../src/Identity.ts"
import * as IdentityJwks from "../src/IdentityJwks.ts"
import { folder, keySetAddress, keySetFile, keySetOf, right, signed, signingKey } from "./Issuer.ts"

const identity = Effect.fnUntraced(function* (jwks: string, copy?: string) {
  const kept = copy === undefined ? {} : { copy }
  const layer = IdentityJwks.layer({ jwks, issuer: "holdfast", audience: "holdfast", ...kept })
  const context = yield* Layer.build(Layer.provide(layer, Health.layer))
  const { verify } = Context.get(context, Identity)
  return {
    verify: (token: string) => verify(Redacted.make(token)),
    refusal: (token: string) => Effect.flip(verify(Redacted.make(token)))
  }
})

/** An identity with one key in a file. */
const desk = Effect.gen(function* () {
  const key = yield* signingKey("one")
  const path = yield* keySetFile(key)
  return { key, path, ...(yield* identity(path)) }
})
const unsigned = (header: object, payload: object) =>
  [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".")
const soon = () => Math.floor(Date.now() / 1000) + 3600

describe("a token that is right", () => {
  it.live.each(["EdDSA", "ES256", "RS256"])("%s names its bearer", (alg) =>
    Effect.gen(function* () {
      const key = yield* signingKey("one", alg)
      const { verify } = yield* identity(yield* keySetFile(key))
      const exp = soon()
      expect(yield* verify(yield* signed(key, { exp, email: "ada@example.com" }))).toEqual({
        principal: { id: "ada", role: "agent", name: "Ada", email: "ada@example.com" },
        expiresAtSeconds: exp
      })
    })
  )

  it.live("may be 30 s late by the desk's clock", () =>
    Effect.gen(function* () {
      const { key, verify } = yield* desk
      const token = yield* signed(key, { exp: Math.floor(Date.now() / 1000) - 10 })
      expect((yield* verify(token)).principal.id).toBe("ada")
      expect((yield* verify(token)).principal.id).toBe("ada")
    })
  )
})

describe("a token that is not", () => {
  const now = Math.floor(Date.now() / 1000)
  it.live.each([
    ["expired", { exp: now - 60 }, "expired"],
    ["without an end", { exp: undefined }, "exp"],
    ["of another issuer", { iss: "elsewhere" }, "iss"],
    ["for another audience", { aud: "payroll" }, "aud"],
    ["not valid yet", { nbf: now + 600 }, "not valid yet"],
    ["without a subject", { sub: undefined }, "sub"],
    ["without a role", { role: undefined }, "role"],
    ["with a role that the desk does not have", { role: "root" }, "role"],
    ["with a subject that could forge a log line", { sub: "ada\nroot" }, "name a person"]
  ] as const)("%s is refused", ([, claims, words]) =>
    Effect.gen(function* () {
      const { key, refusal } = yield* desk
      const error = yield* refusal(yield* signed(key, claims))
      expect(error).toBeInstanceOf(Unauthenticated)
      expect(error.detail).toContain(words)
    })
  )

  it.live("alg none is refused", () =>
    Effect.gen(function* () {
      const { refusal } = yield* desk
      const token = unsigned({ alg: "none", kid: "one" }, { ...right, exp: soon() })
      expect(yield* refusal(`${token}.`)).toBeInstanceOf(Unauthenticated)
    })
  )

  it.live("HS256 with the public key as its secret is refused", () =>
    Effect.gen(function* () {
      const rsa = yield* signingKey("one", "RS256")
      const { refusal } = yield* identity(yield* keySetFile(rsa))
      const forged = yield* Effect.promise(async () => {
        const publicKey = await importJWK({ ...rsa.publicJwk, ext: true }, "RS256")
        if (publicKey instanceof Uint8Array) throw new Error("not a public key")
        const secret = new TextEncoder().encode(await exportSPKI(publicKey))
        return new SignJWT(right).setProtectedHeader({ alg: "HS256", kid: "one" }).setExpirationTime("1h").sign(secret)
      })
      expect((yield* refusal(forged)).detail).toContain("algorithm")
    })
  )

  it.live("one with a changed payload is refused, also after the true one was accepted", () =>
    Effect.gen(function* () {
      const { key, refusal, verify } = yield* desk
      const token = yield* signed(key)
      yield* verify(token)
      const [header = "", , signature = ""] = token.split(".")
      const payload = unsigned({ ...right, role: "admin", exp: soon() }, {}).split(".")[0]
      expect(yield* refusal(`${header}.${payload}.${signature}`)).toBeInstanceOf(Unauthenticated)
    })
  )

  it.live("one by a key of the same name that is not the issuer's is refused", () =>
    Effect.gen(function* () {
      const { refusal } = yield* desk
      expect(yield* refusal(yield* signed(yield* signingKey("one")))).toBeInstanceOf(Unauthenticated)
    })
  )

  it.live.each(["", "x", "a.b.c", "x".repeat(9000), "....", "\u0000"])("nonsense is refused: case %#", (token) =>
    Effect.gen(function* () {
      const { refusal } = yield* desk
      expect(yield* refusal(token)).toBeInstanceOf(Unauthenticated)
    })
  )

  it.live("the refusal repeats nothing of the token", () =>
    Effect.gen(function* () {
      const { key, refusal } = yield* desk
      const token = yield* signed(key, { sub: "very\tsecret" })
      expect(JSON.stringify(yield* refusal(token))).not.toContain("secret")
    })
  )
})

describe("keys", () => {
  it.live("of an unknown name are refused while the issuer is there", () =>
    Effect.gen(function* () {
      const { refusal } = yield* desk
      expect((yield* refusal(yield* signed(yield* signingKey("two")))).detail).toBe("unknown key")
    })
  )

  it.live("are rotated by replacing the file: the new one works at once, the old one no longer", () =>
    Effect.gen(function* () {
      const { key, path, refusal, verify } = yield* desk
      const old = yield* signed(key)
      yield* verify(old)
      const next = yield* signingKey("two")
      yield* Effect.promise(async () => {
        await writeFile(`${path}.next`, keySetOf(next))
        await rename(`${path}.next`, path)
      })
      expect((yield* verify(yield* signed(next))).principal.id).toBe("ada")
      expect(yield* refusal(old)).toBeInstanceOf(Unauthenticated)
    })
  )

  it.effect("that are known work while the issuer is away; unknown ones are unavailable, not refused", () =>
    Effect.gen(function* () {
      const key = yield* signingKey("one")
      const issuer = yield* keySetAddress(() => ({ status: 200, body: keySetOf(key) }))
      const { refusal, verify } = yield* identity(issuer.url)
      yield* verify(yield* signed(key))
      yield* issuer.close
      yield* TestClock.adjust("11 seconds")
      expect((yield* verify(yield* signed(key, { sub: "bob" }))).principal.id).toBe("bob")
      expect(yield* refusal(yield* signed(yield* signingKey("two")))).toBeInstanceOf(Unavailable)
      expect((yield* verify(yield* signed(key, { sub: "carl" }))).principal.id).toBe("carl")
    })
  )

  it.effect("of an issuer that rotates are fetched when a token needs them", () =>
    Effect.gen(function* () {
      const keys = [yield* signingKey("one")]
      const issuer = yield* keySetAddress(() => ({ status: 200, body: keySetOf(...keys) }))
      const { verify } = yield* identity(issuer.url)
      yield* verify(yield* signed(yield* Effect.fromNullishOr(keys[0])))
      const next = yield* signingKey("two")
      keys.push(next)
      yield* TestClock.adjust("11 seconds")
      expect((yield* verify(yield* signed(next))).principal.id).toBe("ada")
    })
  )

  it.effect("that are known stay when the issuer lists none", () =>
    Effect.gen(function* () {
      const key = yield* signingKey("one")
      let listed = keySetOf(key)
      const issuer = yield* keySetAddress(() => ({ status: 200, body: listed }))
      const { refusal, verify } = yield* identity(issuer.url)
      yield* verify(yield* signed(key))
      listed = keySetOf()
      yield* TestClock.adjust("11 seconds")
      expect(yield* refusal(yield* signed(yield* signingKey("two")))).toBeInstanceOf(Unavailable)
      expect((yield* verify(yield* signed(key, { sub: "bob" }))).principal.id).toBe("bob")
    })
  )

  it.live("are kept for a process that starts while the issuer is away", () =>
    Effect.gen(function* () {
      const key = yield* signingKey("one")
      const copy = `${yield* folder}/keys/kept.json`
      const issuer = yield* keySetAddress(() => ({ status: 200, body: keySetOf(key) }))
      const before = yield* identity(issuer.url, copy)
      yield* before.verify(yield* signed(key))
      yield* issuer.close
      const { refusal, verify } = yield* identity(issuer.url, copy)
      expect((yield* verify(yield* signed(key))).principal.id).toBe("ada")
      expect(yield* refusal(yield* signed(yield* signingKey("two")))).toBeInstanceOf(Unavailable)
    })
  )

  it.live("are asked for once, however many unknown ones come at once", () =>
    Effect.gen(function* () {
      const key = yield* signingKey("one")
      const issuer = yield* keySetAddress(() => ({ status: 200, body: keySetOf(key) }))
      const { refusal, verify } = yield* identity(issuer.url)
      yield* verify(yield* signed(key))
      const before = issuer.requests()
      const forged = yield* signed(yield* signingKey("two"))
      yield* Effect.all(
        Array.from({ length: 50 }, () => refusal(forged)),
        { concurrency: "unbounded" }
      )
      expect(issuer.requests()).toBe(before)
    })
  )

  it.live.each([
    ["an issuer that was never there", undefined],
    ["an issuer that fails", { status: 500, body: "{}" }],
    ["an issuer that sends something else", { status: 200, body: "<html>" }],
    ["an issuer that sends too much", { status: 200, body: `{"keys":[],"x":"${"x".repeat(300_000)}"}` }]
  ] as const)("of %s are unavailable", ([, answer]) =>
    Effect.gen(function* () {
      const issuer = yield* keySetAddress(() => answer ?? { status: 200, body: "" })
      if (answer === undefined) yield* issuer.close
      const { refusal } = yield* identity(issuer.url)
      const error = yield* refusal(yield* signed(yield* signingKey("one")))
      expect(error).toBeInstanceOf(Unavailable)
      expect(error).toMatchObject({ dependency: "identity" })
    })
  )

  it.live("in a file that is not there are unavailable, and work once it is", () =>
    Effect.gen(function* () {
      const path = `${yield* folder}/jwks.json`
      const { refusal, verify } = yield* identity(path)
      const key = yield* signingKey("one")
      expect(yield* refusal(yield* signed(key))).toBeInstanceOf(Unavailable)
      yield* Effect.promise(() => writeFile(path, keySetOf(key)))
      expect((yield* verify(yield* signed(key))).principal.id).toBe("ada")
    })
  )
})
