// The values of tus headers that have a form of their own: metadata, checksums and lists of parts. Each is read as a whole or refused with
// what to put instead; nothing here throws, whatever a client sends.
import { FileId } from "@holdfast/contracts/Ids"
import { Files } from "@holdfast/resilience/Limits"
import { ByteSize, Result, Schema } from "effect"

export type Metadata = Readonly<Record<string, string | null>>

// Also what keeps the value fit to be sent back in a header.
const key = /^[\x21-\x2b\x2d-\x7e]+$/
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const metadataBytesMax = ByteSize.toNumberUnsafe(Files.metadataBytesMax)

/** Comma-separated pairs of a key and a value in Base64; a key alone has no value. */
export const readMetadata = (text: string): Result.Result<Metadata, string> => {
  if (text.length > metadataBytesMax) return Result.fail(`may not be longer than ${metadataBytesMax} bytes`)
  const entries = new Map<string, string | null>()
  for (const pair of text.split(",")) {
    const [name = "", value = "", ...rest] = pair.replace(/^[ \t]+/, "").split(" ")
    if (!key.test(name) || !base64.test(value) || rest.length > 0) return Result.fail(metadataForm)
    if (entries.has(name)) return Result.fail(`names ${name} twice; each key may be there once`)
    entries.set(name, value === "" ? null : Buffer.from(value, "base64").toString("utf8"))
  }
  return Result.succeed(Object.fromEntries(entries))
}

const metadataForm = "needs comma-separated pairs of a key and a value in Base64, with one space between them"

export const checksumAlgorithms = ["sha1", "sha256"] as const
export type ChecksumAlgorithm = (typeof checksumAlgorithms)[number]

/** What the bytes of one request have to hash to. */
export interface Checksum {
  readonly algorithm: ChecksumAlgorithm
  readonly digest: Buffer
}

const digestBytes: Readonly<Record<ChecksumAlgorithm, number>> = { sha1: 20, sha256: 32 }
const isAlgorithm = Schema.is(Schema.Literals(checksumAlgorithms))

/** The name of an algorithm and the checksum in Base64. */
export const readChecksum = (text: string): Result.Result<Checksum, string> => {
  const [algorithm, encoded = "", ...rest] = text.split(" ")
  if (!isAlgorithm(algorithm)) return Result.fail(`needs one of the algorithms ${checksumAlgorithms.join(", ")}`)
  const digest = Buffer.from(encoded, "base64")
  if (rest.length > 0 || !base64.test(encoded) || digest.length !== digestBytes[algorithm]) {
    return Result.fail(`needs ${algorithm}, a space and the checksum of ${digestBytes[algorithm]} bytes in Base64`)
  }
  return Result.succeed({ algorithm, digest })
}

/** A part of an upload, or the parts that make one. */
export type Concat = "part" | readonly [FileId, ...ReadonlyArray<FileId>]

export const readConcat = (text: string): Result.Result<Concat, string> => {
  if (text === "partial") return Result.succeed("part")
  if (!text.startsWith("final;")) return Result.fail("needs `partial`, or `final;` and the URLs of the parts")
  const urls = text.slice("final;".length).split(" ").filter(Boolean)
  const ids: Array<FileId> = []
  for (const url of urls) {
    const id = idIn(url)
    if (id === null) return Result.fail("names a part that is not the URL of an upload here")
    ids.push(id)
  }
  const [first, ...others] = ids
  return first === undefined ? Result.fail("needs the URL of at least one part") : Result.succeed([first, ...others])
}

const isId = Schema.is(FileId)

/** Of an absolute or a relative URL, whatever a proxy put in front of the path: the id says it all. */
const idIn = (url: string): FileId | null => {
  const id = /\/files\/([^/]+)$/.exec(URL.parse(url, "http://desk")?.pathname ?? "")?.[1]
  return isId(id) ? id : null
}
