// Where an issuer's public keys (JWKS, RFC 7517) come from: a file that is read again when it changes, or an address.
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises"
import { dirname } from "node:path"
import { Identity as Limits } from "@holdfast/resilience/Limits"
import { ByteSize, Data, Duration, Effect, Option, Schema } from "effect"
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
  /** What was loaded before this process began, for when the issuer is away at its start. */
  readonly recalled: Effect.Effect<Option.Option<JSONWebKeySet>>
}

/** @param copy where a key set from an address is kept; null: nowhere */
export const keySource = (location: string, copy: string | null): KeySource => {
  if (!/^https?:\/\//.test(location)) return fileSource(location)
  return copy === null ? addressSource(location) : keeping(addressSource(location), copy)
}

const KeySet = Schema.fromJsonString(
  Schema.Struct({ keys: Schema.Array(Schema.Record(Schema.String, Schema.Unknown)) })
)
const decodeKeySet = Schema.decodeUnknownEffect(KeySet)

const parse = (location: string, text: string): Effect.Effect<JSONWebKeySet, KeySetUnreadable> =>
  decodeKeySet(text).pipe(
    Effect.mapError(() => new KeySetUnreadable({ reason: "refused", detail: `${location} is not a JSON Web Key Set` })),
    // Nobody issues tokens without a key: an issuer that lists none is not well, and what it listed before still holds.
    Effect.filterOrFail(
      ({ keys }) => keys.length > 0,
      () => new KeySetUnreadable({ reason: "refused", detail: `${location} holds no keys` })
    ),
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
  return {
    load,
    refreshInterval: Limits.fileCheckInterval,
    refetchDelay: Duration.zero,
    recalled: Effect.succeedNone
  }
}

/** Several processes keep the same copy: each writes beside it and renames. A copy that cannot be kept is told and missed by nobody now. */
const keeping = (source: KeySource, path: string): KeySource => {
  const keep = (keySet: JSONWebKeySet) =>
    Effect.tryPromise(async () => {
      const beside = `${path}.${process.pid}.new`
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      await writeFile(beside, JSON.stringify(keySet), { mode: 0o600 })
      await rename(beside, path)
    }).pipe(Effect.catch((error) => Effect.logWarning("the issuer's keys could not be kept", error)))
  return {
    ...source,
    load: Effect.tap(source.load, Option.match({ onNone: () => Effect.void, onSome: keep })),
    recalled: Effect.tryPromise(() => readFile(path, "utf8")).pipe(
      Effect.flatMap((text) => parse(path, text)),
      Effect.option
    )
  }
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
  refetchDelay: Limits.refetchDelay,
  recalled: Effect.succeedNone
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
