// Requests to a server that speaks S3, signed (Signature Version 4, path style) and sent by Node's own fetch. One request is one request:
// nothing is repeated here, redirects are answers like any other, and an answer that is not content is read up to a bound. What fails is either
// the way to the server or its refusal, told by status and S3's own code, never with an address or a key in it.
import type { Sha256 } from "@holdfast/contracts/Ids"
import { ObjectStorage } from "@holdfast/resilience/Limits"
import { AwsClient } from "aws4fetch"
import { ByteSize, Data, Effect, Redacted } from "effect"

export interface S3Options {
  /** `https://host:port` */
  readonly endpoint: string
  readonly bucket: string
  /** Before every name, with a slash at its end; or empty. */
  readonly prefix: string
  readonly region: string
  readonly accessKey: Redacted.Redacted<string>
  readonly secretKey: Redacted.Redacted<string>
}

/** No whole answer came. */
export class S3Lost extends Data.TaggedError("S3Lost")<{ readonly code: string }> {
  /** Certainly nothing was done. */
  get neverSent(): boolean {
    return [
      "ECONNREFUSED",
      "ENOTFOUND",
      "EAI_AGAIN",
      "EHOSTUNREACH",
      "ENETUNREACH",
      "UND_ERR_CONNECT_TIMEOUT"
    ].includes(this.code)
  }
}

/** It answered, and not with what was asked for. */
export class S3Refused extends Data.TaggedError("S3Refused")<{ readonly status: number; readonly code: string }> {}

export interface S3Request {
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE"
  /** Below bucket and prefix; empty for the bucket itself. */
  readonly name: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array<ArrayBuffer>
  /** Of the body; signed with the request, so that a server takes no other bytes for it. */
  readonly sha256?: Sha256
}

export interface S3Client {
  /** An answer with status 2xx. Its body is the caller's to read or to cancel. */
  readonly send: (request: S3Request) => Effect.Effect<Response, S3Lost | S3Refused>
  /** The same for an answer that is text. */
  readonly ask: (request: S3Request) => Effect.Effect<Answer, S3Lost | S3Refused>
}

export interface Answer {
  readonly headers: Headers
  readonly text: string
}

/** SHA-256 of no bytes. */
const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

export const makeS3Client = (options: S3Options): S3Client => {
  const aws = new AwsClient({
    accessKeyId: Redacted.value(options.accessKey),
    secretAccessKey: Redacted.value(options.secretKey),
    region: options.region,
    service: "s3"
  })
  const sign = ({ body, headers, method, name, query, sha256 }: S3Request) => {
    const url = new URL(`${options.endpoint}/${options.bucket}${name === "" ? "" : `/${options.prefix}${name}`}`)
    for (const [key, value] of Object.entries(query ?? {})) url.searchParams.set(key, value)
    return aws.sign(url, {
      method,
      headers: { ...headers, "x-amz-content-sha256": sha256 ?? nothing },
      ...(body === undefined ? {} : { body })
    })
  }
  const send: S3Client["send"] = (request) =>
    Effect.flatMap(
      lostOr(async (signal) => fetch(await sign(request), { signal, redirect: "manual" })),
      (response) => (response.ok ? Effect.succeed(response) : refusalOf(response))
    )
  const ask: S3Client["ask"] = (request) =>
    Effect.flatMap(send(request), (response) =>
      Effect.map(
        lostOr(() => textOf(response)),
        (text) => ({ headers: response.headers, text })
      )
    )
  return { send, ask }
}

export const lostOr = <A>(run: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, S3Lost> =>
  Effect.tryPromise({ try: run, catch: (error) => new S3Lost({ code: codeOf(error) }) })

const refusalOf = (response: Response) =>
  Effect.flatMap(
    lostOr(() => textOf(response)),
    (text) => Effect.fail(new S3Refused({ status: response.status, code: element(text, "Code") ?? "" }))
  )

/** Up to the bound; what comes beyond it is cut, and then does not parse. */
const textOf = async (response: Response): Promise<string> => {
  const decoder = new TextDecoder()
  let [text, sizeBytes] = ["", 0]
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.length
    if (sizeBytes > ByteSize.toNumberUnsafe(ObjectStorage.answerBytesMax)) break
    text += decoder.decode(chunk, { stream: true })
  }
  return text
}

/** Of an answer in XML; all that is read of any is plain text between two tags. */
export const element = (xml: string, name: string): string | undefined =>
  new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1]?.replace(/&(amp|lt|gt|quot|apos|#34|#39);/g, unescape)

export const elements = (xml: string, name: string): ReadonlyArray<string> =>
  [...xml.matchAll(new RegExp(`<${name}>(.*?)</${name}>`, "gs"))].map(([, inner = ""]) => inner)

const characters: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  "#34": '"',
  "#39": "'"
}
const unescape = (whole: string, name: string): string => characters[name] ?? whole

const codeOf = (error: unknown): string => {
  const inner = error instanceof Error && error.cause !== undefined ? error.cause : error
  if (inner instanceof Error && "code" in inner && typeof inner.code === "string") return inner.code
  return "UNKNOWN"
}
