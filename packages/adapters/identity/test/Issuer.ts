// An issuer for tests: real keys, a key set in a file or behind an address that can go away, and any token, right or forged.
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from "jose"

export interface SigningKey {
  readonly alg: string
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly publicJwk: JWK
}

export const signingKey = (kid: string, alg = "EdDSA") =>
  Effect.promise(async (): Promise<SigningKey> => {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
    return { alg, kid, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } }
  })

export const right = { iss: "holdfast", aud: "holdfast", sub: "ada", role: "agent", name: "Ada" }

/** Valid for an hour, and for what `claims` changes; undefined leaves a claim out. */
export const signed = (key: SigningKey, claims: Readonly<Record<string, unknown>> = {}) =>
  Effect.promise(() => {
    const now = Math.floor(Date.now() / 1000)
    const payload = { ...right, iat: now, exp: now + 3600, ...claims }
    return new SignJWT(payload).setProtectedHeader({ alg: key.alg, kid: key.kid }).sign(key.privateKey)
  })

export const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-identity-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

export const keySetOf = (...keys: ReadonlyArray<SigningKey>) =>
  JSON.stringify({ keys: keys.map((key) => key.publicJwk) })

export const keySetFile = Effect.fnUntraced(function* (...keys: ReadonlyArray<SigningKey>) {
  const path = join(yield* folder, "jwks.json")
  yield* Effect.promise(() => writeFile(path, keySetOf(...keys)))
  return path
})

/** An issuer's address; `answer` decides what it says. */
export const keySetAddress = (answer: () => { readonly status: number; readonly body: string }) =>
  Effect.gen(function* () {
    let requests = 0
    const server = createServer((_request, response) => {
      requests++
      const { body, status } = answer()
      response.writeHead(status, { "content-type": "application/json" }).end(body)
    })
    const close = Effect.callback<void>((resume) => {
      server.close(() => resume(Effect.void))
      server.closeAllConnections()
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () => close
    )
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    return { url: `http://127.0.0.1:${port}/jwks.json`, close, requests: () => requests }
  })
