// Downloads of released content by signed link (GET and HEAD), with ranges and entity tags. The link carries everything, so nobody is
// asked; this route is built without the quarantine. Whatever the content is, a browser is told not to guess its type, not to run
// it and, except for re-encoded images, not to show it.
import { type DownloadClaims, verifyLink } from "@holdfast/domain/attachment/DownloadLink"
import { type ByteRange, Released } from "@holdfast/storage/BlobStore"
import { Clock, Effect, type Redacted, Stream } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { type Problem, problemBody, problemHeaders } from "./Problem.ts"
import { Transfers } from "./Transfers.ts"

export const layer = (key: Redacted.Redacted<string>) => HttpRouter.add("*", "/download/:fileId", serve(key))

const serve = (key: Redacted.Redacted<string>) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    if (request.method !== "GET" && request.method !== "HEAD") return refuse(methodNotAllowed)
    const { fileId = "" } = yield* HttpRouter.params
    const parameters = new URL(request.url, "http://localhost").searchParams
    const nowSeconds = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const claims = yield* Effect.fromResult(verifyLink(key, fileId, parameters, nowSeconds))
    const released = yield* Released
    const sizeBytes = yield* released.sizeBytes(claims.sha256)
    return yield* answer(request, claims, sizeBytes)
  }).pipe(
    Effect.catchTags({
      LinkNotValid: () => Effect.succeed(refuse(linkNotValid)),
      LinkExpired: () => Effect.succeed(refuse(linkExpired)),
      BlobNotFound: () => Effect.succeed(refuse(notReleased)),
      TooManyTransfers: ({ whose }) => Effect.succeed(refuse(whose === "client" ? tooMany : allBusy)),
      Unavailable: () => Effect.succeed(refuse(storageAway))
    })
  )

const answer = Effect.fnUntraced(function* (
  request: HttpServerRequest.HttpServerRequest,
  claims: DownloadClaims,
  sizeBytes: number
) {
  const etag = `"${claims.sha256}"`
  const headers = { ...protective(claims), "accept-ranges": "bytes", etag }
  if (matches(request.headers["if-none-match"], etag)) return HttpServerResponse.empty({ status: 304, headers })
  const wanted = rangeOf(request, etag, sizeBytes)
  if (wanted === "unsatisfiable") return refuse(notSatisfiable, { "content-range": `bytes */${sizeBytes}` })
  const length = wanted === null ? sizeBytes : wanted.end - wanted.start + 1
  const partial = wanted === null ? {} : { "content-range": `bytes ${wanted.start}-${wanted.end}/${sizeBytes}` }
  const options = { status: wanted === null ? 200 : 206, headers: { ...headers, ...partial } }
  if (request.method === "HEAD") {
    const described = { ...options.headers, "content-type": claims.mediaType, "content-length": String(length) }
    return HttpServerResponse.empty({ ...options, headers: described })
  }
  const body = yield* content(claims, wanted)
  return HttpServerResponse.stream(body, { ...options, contentType: claims.mediaType, contentLength: length })
})

/** At the pace that the client's share allows; one of its transfers for as long as it lasts. */
const content = Effect.fnUntraced(function* ({ principalId, sha256 }: DownloadClaims, range: ByteRange | null) {
  const released = yield* Released
  const transfers = yield* Transfers
  // Asked once before the answer begins, so that the refusal still has a status.
  yield* Effect.scoped(transfers.admit(principalId))
  const bytes = range === null ? released.read(sha256) : released.read(sha256, range)
  return Stream.unwrap(Effect.as(transfers.admit(principalId), bytes)).pipe(
    Stream.tap((chunk) => transfers.pass(principalId, chunk.length))
  )
})

const shownInline = new Set(["image/png", "image/jpeg", "image/webp", "image/gif"])

const protective = ({ mediaType, name }: DownloadClaims) => ({
  "content-disposition": disposition(shownInline.has(mediaType) ? "inline" : "attachment", name),
  "content-security-policy": "sandbox; default-src 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-site",
  "cache-control": "private, no-cache"
})

/** RFC 6266: a plain name for the oldest clients, and the true one percent-encoded (RFC 8187). */
export const disposition = (kind: "inline" | "attachment", name: string): string => {
  const plain = name.replace(/[^\x20-\x7e]/g, "_").replace(/["\\%]/g, "_")
  const encoded = encodeURIComponent(name.toWellFormed()).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`
  )
  return `${kind}; filename="${plain}"; filename*=UTF-8''${encoded}`
}

const matches = (header: string | undefined, etag: string): boolean =>
  (header ?? "").split(",").some((tag) => tag.trim() === "*" || tag.trim().replace(/^W\//, "") === etag)

/** One range is served; several at once, or a form that nobody knows, get the whole. */
const rangeOf = (
  request: HttpServerRequest.HttpServerRequest,
  etag: string,
  sizeBytes: number
): ByteRange | "unsatisfiable" | null => {
  const { "if-range": ifRange, range } = request.headers
  if (range === undefined || (ifRange !== undefined && ifRange.trim() !== etag)) return null
  const [, first = "", last = ""] = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/.exec(range.trim()) ?? []
  if (first === "" && last === "") return null
  if (first === "") return suffix(Number(last), sizeBytes)
  const start = Number(first)
  const end = Math.min(last === "" ? sizeBytes - 1 : Number(last), sizeBytes - 1)
  if (last !== "" && Number(last) < start) return null
  return start < sizeBytes ? { start, end } : "unsatisfiable"
}

const suffix = (length: number, sizeBytes: number): ByteRange | "unsatisfiable" =>
  length === 0 || sizeBytes === 0 ? "unsatisfiable" : { start: Math.max(0, sizeBytes - length), end: sizeBytes - 1 }

const linkNotValid: Problem = { status: 403, tag: "LinkNotValid", title: "This download link is not valid." }
const linkExpired: Problem = {
  status: 410,
  tag: "LinkExpired",
  title: "This download link has expired; ask for a new one. If a new one is refused too, a clock of the desk is wrong."
}
const notReleased: Problem = { status: 404, tag: "FileNotFound", title: "There is no such released file." }
const notSatisfiable: Problem = { status: 416, tag: "RangeNotSatisfiable", title: "The file ends before this range." }
const methodNotAllowed: Problem = {
  status: 405,
  tag: "MethodNotAllowed",
  title: "A download is read with GET or HEAD."
}
const tooMany: Problem = { status: 429, tag: "TooManyTransfers", title: "Too many transfers of yours are under way." }
const allBusy: Problem = { status: 503, tag: "Overloaded", title: "The desk takes no more transfers just now." }
const storageAway: Problem = { status: 503, tag: "StorageUnavailable", title: "The disk does not answer just now." }

const refuse = (problem: Problem, headers: Readonly<Record<string, string>> = {}) =>
  HttpServerResponse.text(problemBody(problem), {
    status: problem.status,
    headers: { ...problemHeaders(problem.status), ...headers }
  })
