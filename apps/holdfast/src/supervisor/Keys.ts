// The desk's own secrets: the key that signs its tokens and the key that signs download links, made once and kept where only its account can
// read them. A desk whose tokens come from an identity provider makes no token key and no tokens.
import { randomBytes } from "node:crypto"
import { link, rm, writeFile } from "node:fs/promises"
import { Principal } from "@holdfast/contracts/Principal"
import { createKeySet, issueToken } from "@holdfast/identity/Tokens"
import { Duration, Effect, Option, type Redacted, Schema } from "effect"
import { type Refusal, refuse } from "../Refusal.ts"
import type { Settings } from "../Settings.ts"
import type { DataFolder } from "./DataFolder.ts"

export interface Tokens {
  /** For the person who starts the desk. */
  readonly forAdmin: Effect.Effect<Redacted.Redacted<string>, Refusal>
  /** Refused when this is not a person that the desk could know. */
  readonly make: (
    person: typeof Principal.Encoded,
    lifetime: Duration.Duration
  ) => Effect.Effect<Redacted.Redacted<string>, Refusal>
}

export interface Keys {
  /** `undefined`: somebody else makes the tokens. */
  readonly tokens: Tokens | undefined
}

export const prepareKeys = Effect.fn("Keys.prepare")(function* (folder: DataFolder, settings: Settings) {
  if (Option.isNone(settings.downloadKey)) yield* createDownloadKey(settings.downloadKeyFile)
  if (!settings.ownTokens) return { tokens: undefined } satisfies Keys
  yield* createKeySet(folder.keys).pipe(Effect.mapError(({ message }) => refuse(`${message}.`)))
  return { tokens: tokensFrom(folder, settings) } satisfies Keys
})

const tokensFrom = (folder: DataFolder, { tokenAudience, tokenIssuer }: Settings): Tokens => {
  const make: Tokens["make"] = Effect.fnUntraced(function* (person, lifetime) {
    const principal = yield* Schema.decodeEffect(Principal)(person).pipe(
      Effect.mapError(({ message }) =>
        refuse(`No token can be made for this person: ${message.replaceAll(/\s+/g, " ")}`)
      )
    )
    const options = { directory: folder.keys, issuer: tokenIssuer, audience: tokenAudience, principal, lifetime }
    return yield* issueToken(options).pipe(Effect.mapError(({ message }) => refuse(`${message}.`)))
  })
  return { make, forAdmin: make({ id: "admin", role: "admin", name: "Administrator" }, Duration.hours(12)) }
}

/** Written aside and linked to its name, so that two starts agree on one key and nobody reads half of it. */
const createDownloadKey = (file: string) =>
  Effect.tryPromise({
    try: async () => {
      const aside = `${file}.${process.pid}`
      await writeFile(aside, randomBytes(32).toString("hex"), { mode: 0o600 })
      await link(aside, file).catch((cause: unknown) => {
        if (!(cause instanceof Error && "code" in cause && cause.code === "EEXIST")) throw cause
      })
      await rm(aside)
    },
    catch: (cause) => refuse(`${file} cannot be made: ${cause instanceof Error ? cause.message : String(cause)}`)
  })
