// Where an issuer's public keys (JWKS, RFC 7517) come from: a file that is read again when it changes, or an address.
import { readFile, stat } from "node:fs/promises"
import { Identity as Limits } from "@holdfast/resilience/Limits"
import { ByteSize, Data, Duration, Effect, type Option, Schema } from "effect"
import type { JSONWebKeySet } from "jose"

export class KeySetUnreadable extends Data.TaggedError("KeySetUnreadable")<{
  readonly reason: "unreachable" | "refused"
  readonly detail: string
}> {}

export interface KeySource {
  /** None when it has not changed since the last time. */
  readonly load: Effect.Effect<Option.Option<JSONWebKeySet>, KeySetUnreadable>
  readonly refreshInterval: Duration.Duration
  /** An unknown key makes the set be loaded again no sooner than this after the last time. */
  readonly refetchDelay: Duration.Duration
}

export const keySource = (location: string): KeySource =>
  /^https?:\/\//.test(location) ? addressSource(location) : fileSource(location)

const KeySet = Schema.fromJsonString(
  Schema.Struct({ keys: Schema.Array(Schema.Record(Schema.String, Schema.Unknown)) })
)
const decodeKeySet = Schema.decodeUnknownEffect(KeySet)

const parse = (location: string, text: string): Effect.Effect<JSONWebKeySet, KeySetUnreadable> =>
  decodeKeySet(text).pipe(
    Effect.mapError(() => new KeySetUnreadable({ reason: "refused", detail: `${location} is not a JSON Web Key Set` })),
    Effect.map(({ keys }) => ({ keys: keys.map((key) => ({ ...key })) }))
  )

const fileSource = (path: string): KeySource => {
  let readAtVersion: string | undefined
  const reading = Effect.tryPromise({
    try: async () => {
      const { ino, mtimeMs, size } = await stat(path)
      const version = `${ino}/${mtimeMs}/${size}`
      if (version === readAtVersion) return undefined
      return { version, text: await readFile(path, "utf8") }
    },
    catch: (cause) => new KeySetUnreadable({ reason: "unreachable", detail: `${path}: ${codeOf(cause)}` })
  })
  const load = Effect.flatMap(reading, (read) =>
    read === undefined
      ? Effect.succeedNone
      : parse(path, read.text).pipe(
          Effect.tap(() =>
            Effect.sync(() => {
              readAtVersion = read.version
            })
          ),
          Effect.asSome
        )
  )
  return { load, refreshInterval: Limits.fileCheckInterval, refetchDelay: Duration.zero }
}

const addressSource = (address: string): KeySource => ({
  load: Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(address, { signal, redirect: "error", headers: { accept: "application/json" } })
      if (!response.ok) throw new KeySetUnreadable({ reason: "refused", detail: `the issuer says ${response.status}` })
      return await boundedText(response)
    },
    catch: (cause) =>
      cause instanceof KeySetUnreadable
        ? cause
        : new KeySetUnreadable({ reason: "unreachable", detail: `the issuer cannot be reached: ${codeOf(cause)}` })
  }).pipe(
    Effect.flatMap((text) => parse("what the issuer sent", text)),
    Effect.asSome
  ),
  refreshInterval: Limits.keySetLifetime,
  refetchDelay: Limits.refetchDelay
})

const bytesMax = ByteSize.toNumberUnsafe(Limits.keySetBytesMax)

const boundedText = async (response: Response): Promise<string> => {
  const chunks: Array<Uint8Array> = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    if (bytes > bytesMax) throw new KeySetUnreadable({ reason: "refused", detail: "the key set is too large" })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}

/** `fetch` hides why in the cause's cause. */
const codeOf = (cause: unknown): string => {
  if (!(cause instanceof Error)) return "unknown"
  if ("code" in cause && typeof cause.code === "string") return cause.code
  return cause.cause === undefined ? cause.name : codeOf(cause.cause)
}
