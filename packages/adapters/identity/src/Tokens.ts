// The desk's own issuer, for the embedded default and for tests: an Ed25519 key pair in a folder, and tokens signed with it. Files are
// written whole and readable by their owner alone.
import { randomUUID } from "node:crypto"
import { link, mkdir, open, readFile, unlink } from "node:fs/promises"
import { join } from "node:path"
import type { Principal } from "@holdfast/contracts/Principal"
import { Data, Duration, Effect, Redacted, Schema } from "effect"
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, SignJWT } from "jose"

export class KeysUnusable extends Data.TaggedError("KeysUnusable")<{ readonly message: string }> {}

/** The public half, as `HOLDFAST_JWKS` wants it. */
export const publicKeySetFile = (directory: string): string => join(directory, "jwks.json")
const privateKeyFile = (directory: string): string => join(directory, "private.jwk.json")

const attempt = <A>(what: string, run: () => Promise<A>): Effect.Effect<A, KeysUnusable> =>
  Effect.tryPromise({
    try: run,
    catch: (cause) => new KeysUnusable({ message: `${what}: ${cause instanceof Error ? cause.message : "unknown"}` })
  })

const PrivateKey = Schema.fromJsonString(
  Schema.Struct({
    kty: Schema.Literal("OKP"),
    crv: Schema.Literal("Ed25519"),
    x: Schema.String,
    d: Schema.String,
    kid: Schema.String
  })
)
type PrivateKey = typeof PrivateKey.Type

/** Makes the key pair unless the folder has one. Two processes that start at once end up with the same one. */
export const createKeySet = Effect.fn("Tokens.createKeySet")(function* (directory: string) {
  yield* attempt(`Cannot make ${directory}`, () => mkdir(directory, { recursive: true, mode: 0o700 }))
  const fresh = yield* attempt("Cannot make a key", generate)
  yield* attempt(`Cannot write a key to ${directory}`, () =>
    writeOnce(privateKeyFile(directory), JSON.stringify(fresh))
  )
  const { crv, kid, kty, x } = yield* readPrivateKey(directory)
  const keySet = { keys: [{ kty, crv, x, kid, alg: "EdDSA", use: "sig" }] }
  yield* attempt(`Cannot write the key set to ${directory}`, () =>
    writeOnce(publicKeySetFile(directory), JSON.stringify(keySet))
  )
})

const generate = async (): Promise<PrivateKey> => {
  const { privateKey } = await generateKeyPair("EdDSA", { extractable: true })
  const { d = "", x = "" } = await exportJWK(privateKey)
  const kid = await calculateJwkThumbprint({ kty: "OKP", crv: "Ed25519", x })
  return { kty: "OKP", crv: "Ed25519", x, d, kid }
}

/** The first writer wins, and no reader ever sees half a file: written aside, then linked to its name. */
const writeOnce = async (path: string, text: string): Promise<void> => {
  const aside = `${path}.${randomUUID()}`
  const file = await open(aside, "wx", 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  try {
    await link(aside, path)
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw cause
  } finally {
    await unlink(aside)
  }
}

const readPrivateKey = (directory: string): Effect.Effect<PrivateKey, KeysUnusable> =>
  attempt("Cannot read the private key", () => readFile(privateKeyFile(directory), "utf8")).pipe(
    Effect.flatMap((text) =>
      Effect.mapError(
        Schema.decodeEffect(PrivateKey)(text),
        () => new KeysUnusable({ message: `${privateKeyFile(directory)} is not an Ed25519 private key` })
      )
    )
  )

export interface TokenOptions {
  /** Where `createKeySet` put the keys. */
  readonly directory: string
  readonly issuer: string
  readonly audience: string
  readonly principal: Principal
  readonly lifetime: Duration.Duration
}

export const issueToken = Effect.fn("Tokens.issueToken")(function* (options: TokenOptions) {
  const { id, ...claims } = options.principal
  const key = yield* readPrivateKey(options.directory)
  const token = yield* attempt("Cannot sign a token", async () =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: "EdDSA", kid: key.kid, typ: "JWT" })
      .setSubject(id)
      .setIssuer(options.issuer)
      .setAudience(options.audience)
      .setIssuedAt()
      .setExpirationTime(`${Math.ceil(Duration.toSeconds(options.lifetime))} seconds`)
      .sign(await importJWK(key, "EdDSA"))
  )
  return Redacted.make(token)
})
