// Downloads of released content by signed link (GET and HEAD), whole or in parts, with entity tags. The link carries everything, so nobody is
// asked; this route is built without the quarantine. Whatever the content is, a browser is told not to guess its type, not to run it and,
// except for re-encoded images, not to show it. Downloads have a budget of their own: neither they nor uploads wait for the other.
import { randomUUID } from "node:crypto"
import { type DownloadClaims, verifyLink } from "@holdfast/domain/attachment/DownloadLink"
import { Files } from "@holdfast/resilience/Limits"
import { BlobCorrupt, type BlobStore, type ByteRange, Released, Withdrawn } from "@holdfast/storage/BlobStore"
import { ByteSize, Clock, Context, Effect, Layer, Pull, type Redacted, Stream } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { contentDisposition } from "./ContentDisposition.ts"
import { type Problem, problemBody, problemHeaders } from "./Problem.ts"
import { rangesOf, type Wanted } from "./Ranges.ts"
import * as Shares from "./Transfers.ts"

export const limitsDefault: Shares.TransferLimits = {
  underWayMax: Files.downloadsMax,
  perPrincipalMax: Files.downloadsPerPrincipalMax,
  bytesPerSecondMax: ByteSize.toNumberUnsafe(Files.downloadBytesPerSecondMax),
  bytesPerSecondPerPrincipalMax: ByteSize.toNumberUnsafe(Files.downloadBytesPerSecondPerPrincipalMax)
}

export const layer = (key: Redacted.Redacted<string>, limits: Shares.TransferLimits = limitsDefault) =>
  Layer.unwrap(
    Effect.map(Layer.build(Shares.layer(limits)), (shares) =>
      HttpRouter.add("*", "/download/:fileId", serve(key, Context.get(shares, Shares.Transfers)))
    )
  )

type Transfers = Shares.Transfers["Service"]

const serve = (key: Redacted.Redacted<string>, transfers: Transfers) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (request.method !== "GET" && request.method !== "HEAD") return refuse(methodNotAllowed, { allow: "GET, HEAD" })
    const { fileId = "" } = yield* HttpRouter.params
    const parameters = new URL(request.url, "http://localhost").searchParams
    const nowSeconds = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const claims = yield* Effect.fromResult(verifyLink(key, fileId, parameters, nowSeconds))
    const released = yield* Released
    const withdrawn = yield* Withdrawn
    const [isWithdrawn, size] = yield* Effect.all(
      [withdrawn.has(claims.fileId), Effect.result(released.sizeBytes(claims.sha256))],
      { concurrency: 2 }
    )
    if (isWithdrawn) return refuse(fileWithdrawn)
    const sizeBytes = yield* Effect.fromResult(size)
    return yield* answer(request, { claims, sizeBytes, transfers })
  }).pipe(
    Effect.catchTags({
      LinkNotValid: () => Effect.succeed(refuse(linkNotValid)),
      LinkExpired: () => Effect.succeed(refuse(linkExpired)),
      BlobNotFound: () => Effect.succeed(refuse(notReleased)),
      BlobCorrupt: () => Effect.succeed(refuse(damaged)),
      TooManyTransfers: ({ whose }) => Effect.succeed(refuse(whose === "client" ? tooMany : allBusy)),
      Unavailable: () => Effect.succeed(refuse(storageAway))
    })
  )

interface Asked {
  readonly claims: DownloadClaims
  readonly sizeBytes: number
  readonly transfers: Transfers
}

/** Conditions in the order of RFC 9110, section 13.2.2; ranges mean something to GET alone (section 14.2). */
const answer = Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest, asked: Asked) {
  const { claims, sizeBytes } = asked
  const etag = `"${claims.sha256}"`
  const headers = { ...protective(claims), "accept-ranges": "bytes", etag, "repr-digest": digestOf(claims) }
  const { "if-match": ifMatch, "if-none-match": ifNoneMatch } = request.headers
  if (ifMatch !== undefined && !matches(ifMatch, etag, "strong")) return refuse(changed)
  if (ifNoneMatch !== undefined && matches(ifNoneMatch, etag, "weak")) {
    return HttpServerResponse.empty({ status: 304, headers })
  }
  const wanted = request.method === "HEAD" ? "whole" : wantedOf(request, etag, sizeBytes)
  if (wanted === "unsatisfiable") {
    return refuse(notSatisfiable, { "content-range": `bytes */${sizeBytes}`, "accept-ranges": "bytes" })
  }
  const parcel = parcelOf(wanted, asked)
  const described = { ...headers, ...parcel.headers }
  if (request.method === "HEAD") return withoutBody(described, parcel)
  return HttpServerResponse.stream(yield* paced(asked, parcel), {
    status: wanted === "whole" ? 200 : 206,
    headers: described,
    contentType: parcel.contentType,
    contentLength: parcel.sizeBytes
  })
})

const withoutBody = (headers: Readonly<Record<string, string>>, { contentType, sizeBytes }: Parcel) =>
  HttpServerResponse.empty({
    status: 200,
    headers: { ...headers, "content-type": contentType, "content-length": String(sizeBytes) }
  })

/** A date never matches: content has no date here, and another content has another tag. */
const wantedOf = (request: HttpServerRequest.HttpServerRequest, etag: string, sizeBytes: number): Wanted => {
  const { "if-range": ifRange, range } = request.headers
  if (range === undefined || (ifRange !== undefined && ifRange.trim() !== etag)) return "whole"
  return rangesOf(range, sizeBytes)
}

/** What an answer consists of. */
interface Parcel {
  readonly sizeBytes: number
  readonly contentType: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: (released: BlobStore) => Content
}

type Content = ReturnType<BlobStore["read"]>

const parcelOf = (wanted: Exclude<Wanted, "unsatisfiable">, { claims, sizeBytes }: Asked): Parcel => {
  const { mediaType: contentType, sha256 } = claims
  if (wanted === "whole") return { sizeBytes, contentType, headers: {}, body: (released) => released.read(sha256) }
  const [only] = wanted
  if (only === undefined || wanted.length > 1) return inParts(wanted, claims, sizeBytes)
  return {
    sizeBytes: lengthOf(only),
    contentType,
    headers: { "content-range": placeOf(only, sizeBytes) },
    body: (released) => released.read(sha256, only)
  }
}

const lengthOf = ({ end, start }: ByteRange): number => end - start + 1
const placeOf = ({ end, start }: ByteRange, sizeBytes: number): string => `bytes ${start}-${end}/${sizeBytes}`

/** `multipart/byteranges` (RFC 9110, section 14.6). A boundary that nobody can guess is in no content. */
const inParts = (
  ranges: ReadonlyArray<ByteRange>,
  { mediaType, sha256 }: DownloadClaims,
  sizeBytes: number
): Parcel => {
  const boundary = `holdfast-${randomUUID()}`
  const parts = ranges.map((range) => ({
    range,
    head: bytesOf(
      `\r\n--${boundary}\r\nContent-Type: ${mediaType}\r\nContent-Range: ${placeOf(range, sizeBytes)}\r\n\r\n`
    )
  }))
  const tail = bytesOf(`\r\n--${boundary}--\r\n`)
  return {
    sizeBytes: parts.reduce((sum, { head, range }) => sum + head.length + lengthOf(range), tail.length),
    contentType: `multipart/byteranges; boundary=${boundary}`,
    headers: {},
    body: (released) =>
      Stream.fromIterable(parts).pipe(
        Stream.flatMap(({ head, range }) => Stream.concat(Stream.make(head), released.read(sha256, range))),
        Stream.concat(Stream.make(tail))
      )
  }
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/**
 * At the pace that the client's share allows; one of its transfers for as long as the request lasts. Whoever leaves ends the read. The first
 * piece is read before anything is answered, so that what cannot be read is refused with a status.
 */
const paced = Effect.fnUntraced(function* ({ claims, transfers }: Asked, parcel: Parcel) {
  yield* transfers.admit(claims.principalId)
  const pull = yield* Stream.toPull(exactly(parcel.sizeBytes, claims, parcel.body(yield* Released)))
  const first = yield* Pull.catchDone(pull, () => Effect.succeed([]))
  return Stream.concat(Stream.fromIterable(first), Stream.fromPull(Effect.succeed(pull))).pipe(
    Stream.tap((chunk) => transfers.pass(claims.principalId, chunk.length))
  )
})

/** An answer that is shorter than it said it would be must break off: it would else go on with whatever is said next on its connection. */
const exactly = (sizeBytes: number, { sha256 }: DownloadClaims, content: Content): Content =>
  Stream.suspend(() => {
    let leftBytes = sizeBytes
    const counted = Stream.tap(content, (chunk) =>
      Effect.suspend(() => {
        leftBytes -= chunk.length
        return leftBytes < 0 ? Effect.fail(new BlobCorrupt({ key: sha256 })) : Effect.void
      })
    )
    const end = Stream.suspend(() => (leftBytes === 0 ? Stream.empty : Stream.fail(new BlobCorrupt({ key: sha256 }))))
    return Stream.concat(counted, end)
  })

const shownInline = new Set(["image/png", "image/jpeg", "image/webp", "image/gif"])

const protective = ({ mediaType, name }: DownloadClaims) => ({
  "content-disposition": contentDisposition(shownInline.has(mediaType) ? "inline" : "attachment", name),
  "content-security-policy": "sandbox; default-src 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-site",
  "cache-control": "private, no-cache"
})

/** RFC 9530: by it a client that resumes can tell that all its parts are of one content, and the right one. */
const digestOf = ({ sha256 }: DownloadClaims): string => `sha-256=:${Buffer.from(sha256, "hex").toString("base64")}:`

/** Weak tags are never ours; they may stand for ours where nothing is joined to what a client has. */
const matches = (header: string, etag: string, comparison: "strong" | "weak"): boolean =>
  header.split(",").some((member) => {
    const tag = member.trim()
    return tag === "*" || (comparison === "weak" ? tag.replace(/^W\//, "") : tag) === etag
  })

const linkNotValid: Problem = { status: 403, tag: "LinkNotValid", title: "This download link is not valid." }
const linkExpired: Problem = {
  status: 410,
  tag: "LinkExpired",
  title: "This download link has expired; ask for a new one. If a new one is refused too, a clock of the desk is wrong."
}
const fileWithdrawn: Problem = {
  status: 410,
  tag: "FileWithdrawn",
  title: "This file was found bad after its release, and was withdrawn."
}
const notReleased: Problem = { status: 404, tag: "FileNotFound", title: "There is no such released file." }
const notSatisfiable: Problem = { status: 416, tag: "RangeNotSatisfiable", title: "The file ends before this range." }
const damaged: Problem = {
  status: 500,
  tag: "ContentDamaged",
  title: "The stored file is damaged and is not given; tell whoever runs the desk."
}
const changed: Problem = { status: 412, tag: "ContentChanged", title: "The content is not the one that was asked for." }
const methodNotAllowed: Problem = {
  status: 405,
  tag: "MethodNotAllowed",
  title: "A download is read with GET or HEAD."
}
const tooMany: Problem = { status: 429, tag: "TooManyTransfers", title: "Too many transfers of yours are under way." }
const allBusy: Problem = { status: 503, tag: "Overloaded", title: "The desk takes no more transfers just now." }
const storageAway: Problem = {
  status: 503,
  tag: "StorageUnavailable",
  title: "The files cannot be read just now; try again."
}

const refuse = (problem: Problem, headers: Readonly<Record<string, string>> = {}) =>
  HttpServerResponse.text(problemBody(problem), {
    status: problem.status,
    headers: { ...problemHeaders(problem.status), ...headers }
  })
