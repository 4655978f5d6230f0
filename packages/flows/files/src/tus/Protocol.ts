// The tus 1.0 protocol (https://tus.io/protocols/resumable-upload) as data: a request line and headers become a request that may be carried
// out, or a refusal that names the header and says what to put instead. Pure, and total over whatever a client sends: a bad request is never
// an error of ours, and nothing of the disk is touched for it.
import type { IncomingHttpHeaders } from "node:http"
import { FileId } from "@holdfast/contracts/Ids"
import { Files } from "@holdfast/resilience/Limits"
import { ByteSize, Result, Schema } from "effect"
import type { Problem } from "../Problem.ts"
import {
  type Checksum,
  type Concat,
  checksumAlgorithms,
  type Metadata,
  readChecksum,
  readConcat,
  readMetadata
} from "./HeaderValues.ts"

export const version = "1.0.0"
export const uploadsPath = "/files"
export const uploadBytesMax = ByteSize.toNumberUnsafe(Files.uploadBytesMax)

const extensions = ["creation", "creation-with-upload", "termination", "expiration", "checksum", "concatenation"]

/** What `OPTIONS` tells a client that asks what the server can do. */
export const announcement = {
  "tus-resumable": version,
  "tus-version": version,
  "tus-extension": extensions.join(","),
  "tus-max-size": String(uploadBytesMax),
  "tus-checksum-algorithm": checksumAlgorithms.join(",")
} as const

/** Bytes that come with a request. */
export interface Content {
  /** Null when only their end will tell. */
  readonly sizeBytes: number | null
  readonly checksum: Checksum | null
}

/** What a client says about an upload, and how it said it: that is told again as it was. */
export interface Described {
  readonly metadata: Metadata
  readonly declared: string | null
}

export interface Create extends Described {
  readonly type: "Create"
  readonly sizeBytes: number
  readonly isPart: boolean
  /** Null without bytes of the upload. */
  readonly content: Content | null
}

export interface Concatenate extends Described {
  readonly type: "Concatenate"
  readonly parts: Exclude<Concat, "part">
  /** The header as it was sent. */
  readonly concat: string
}

export interface Append {
  readonly type: "Append"
  readonly id: FileId
  readonly offset: number
  readonly content: Content
}

export type TusRequest =
  | Create
  | Concatenate
  | Append
  | { readonly type: "Look"; readonly id: FileId }
  | { readonly type: "Terminate"; readonly id: FileId }
  | { readonly type: "Announce" }

export interface RequestHead {
  readonly method: string
  /** The path, with or without a query. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
}

type Read<A> = Result.Result<A, Problem>

export const readRequest = (head: RequestHead): Read<TusRequest> => {
  const method = headerOf(head, "x-http-method-override")?.trim().toUpperCase() || head.method
  if (method === "OPTIONS") return Result.succeed({ type: "Announce" })
  if (method === "GET") return Result.fail(notReadable)
  if (headerOf(head, "tus-resumable") !== version) return Result.fail(otherVersion)
  switch (method) {
    case "POST":
      return readPost(head)
    case "PATCH":
      return Result.flatMap(idOf(head), (id) => readAppend(head, id))
    case "HEAD":
      return Result.map(idOf(head), (id) => ({ type: "Look", id }))
    case "DELETE":
      return Result.map(idOf(head), (id) => ({ type: "Terminate", id }))
    default:
      return Result.fail(methodNotKnown)
  }
}

/** Node joins what was sent twice by a comma, so that it fits no form below. */
const headerOf = ({ headers }: RequestHead, name: string): string | undefined => {
  const value = headers[name]
  return Array.isArray(value) ? value.join(", ") : value
}

const pathOf = ({ url }: RequestHead): string => url.split("?", 1)[0] ?? ""

const isId = Schema.is(FileId)

/** No path on the disk is ever made of anything but an id. */
const idOf = (head: RequestHead): Read<FileId> => {
  const id = new RegExp(`^${uploadsPath}/([^/]+)/?$`).exec(pathOf(head))?.[1]
  return isId(id) ? Result.succeed(id) : Result.fail(notFound)
}

const readPost = (head: RequestHead): Read<TusRequest> => {
  if (pathOf(head).replace(/\/$/, "") !== uploadsPath) return Result.fail(notCreatedHere)
  const concat = headerOf(head, "upload-concat")
  if (concat === undefined) return readCreate(head, false)
  return Result.flatMap(
    said("Upload-Concat", readConcat(concat)),
    (parts): Read<Create | Concatenate> =>
      parts === "part" ? readCreate(head, true) : readConcatenate(head, concat, parts)
  )
}

const readCreate = (head: RequestHead, isPart: boolean): Read<Create> =>
  Result.gen(function* () {
    const sizeBytes = yield* readLength(head)
    const described = yield* readDescribed(head)
    const content = hasContent(head) ? yield* readContent(head) : null
    const tooMuch = content !== null && (content.sizeBytes ?? 0) > sizeBytes
    if (tooMuch) return yield* Result.fail(beyondLength)
    return { type: "Create", sizeBytes, isPart, content, ...described } as const
  })

const readConcatenate = (head: RequestHead, concat: string, parts: Concatenate["parts"]): Read<Concatenate> => {
  if (headerOf(head, "upload-length") !== undefined) {
    return Result.fail(
      bad("Upload-Length", "may not be sent with `Upload-Concat: final`: the length is that of the parts")
    )
  }
  if (hasContent(head)) {
    return Result.fail(
      bad("Content-Type", "may not announce bytes with `Upload-Concat: final`: they are those of the parts")
    )
  }
  return Result.map(readDescribed(head), (described) => ({ type: "Concatenate", parts, concat, ...described }))
}

const readAppend = (head: RequestHead, id: FileId): Read<Append> =>
  Result.gen(function* () {
    if (!hasContent(head)) return yield* Result.fail(otherMediaType)
    if (headerOf(head, "upload-length") !== undefined) {
      return yield* Result.fail(
        bad("Upload-Length", "belongs to the request that creates an upload, and does not change")
      )
    }
    const offset = yield* readNatural("Upload-Offset", headerOf(head, "upload-offset"))
    return { type: "Append", id, offset, content: yield* readContent(head) } as const
  })

const contentType = "application/offset+octet-stream"

const hasContent = (head: RequestHead): boolean => headerOf(head, "content-type")?.trim().toLowerCase() === contentType

const readContent = (head: RequestHead): Read<Content> => {
  const checksum = headerOf(head, "upload-checksum")
  const length = headerOf(head, "content-length")
  return Result.map(
    checksum === undefined ? Result.succeed(null) : said("Upload-Checksum", readChecksum(checksum)),
    (read) => ({
      // Node has read it before; without it a body ends where its last chunk does, and where none was announced there is none.
      sizeBytes: length === undefined ? (head.headers["transfer-encoding"] === undefined ? 0 : null) : Number(length),
      checksum: read
    })
  )
}

const readLength = (head: RequestHead): Read<number> => {
  const deferred = headerOf(head, "upload-defer-length")
  if (deferred === "1") return Result.fail(notDeferrable)
  if (deferred !== undefined) return Result.fail(bad("Upload-Defer-Length", "may only be 1; leave it out"))
  return Result.flatMap(readNatural("Upload-Length", headerOf(head, "upload-length")), (sizeBytes) =>
    sizeBytes > uploadBytesMax ? Result.fail(tooLarge) : Result.succeed(sizeBytes)
  )
}

/** More digits than a number holds are still a number, and too large for whatever is asked. */
const readNatural = (name: string, text: string | undefined): Read<number> =>
  text !== undefined && /^(0|[1-9][0-9]*)$/.test(text)
    ? Result.succeed(Number(text))
    : Result.fail(bad(name, "needs a whole number of bytes, 0 or more"))

const readDescribed = (head: RequestHead): Read<Described> => {
  const declared = headerOf(head, "upload-metadata")
  if (declared === undefined) return Result.succeed({ metadata: {}, declared: null })
  return Result.map(said("Upload-Metadata", readMetadata(declared)), (metadata) => ({ metadata, declared }))
}

const said = <A>(name: string, read: Result.Result<A, string>): Read<A> =>
  Result.mapError(read, (what) => bad(name, what))

const bad = (header: string, what: string): Problem => ({
  status: 400,
  tag: "UploadRequestNotValid",
  title: `The header ${header} ${what}.`,
  fields: { header }
})

const otherVersion: Problem = {
  status: 412,
  tag: "TusVersionNotSupported",
  title: `The header Tus-Resumable needs to be ${version}, the version of tus that is spoken here.`,
  headers: { "tus-version": version },
  fields: { header: "Tus-Resumable" }
}
const otherMediaType: Problem = {
  status: 415,
  tag: "UploadContentNotSupported",
  title: `The header Content-Type needs to be ${contentType}.`,
  fields: { header: "Content-Type" }
}
const notDeferrable: Problem = {
  status: 501,
  tag: "TusExtensionNotSupported",
  title: "The header Upload-Defer-Length asks for what is not done here: send Upload-Length.",
  fields: { header: "Upload-Defer-Length" }
}
const notReadable: Problem = {
  status: 405,
  tag: "MethodNotAllowed",
  title: "Uploads cannot be read; a released file has a download link."
}
const methodNotKnown: Problem = {
  status: 405,
  tag: "MethodNotAllowed",
  title: "Uploads are made with POST, HEAD, PATCH and DELETE."
}
const notCreatedHere: Problem = {
  status: 405,
  tag: "MethodNotAllowed",
  title: `An upload is created with POST to ${uploadsPath}/, and continued with PATCH.`
}
export const notFound: Problem = { status: 404, tag: "FileNotFound", title: "There is no such upload of yours." }
export const tooLarge: Problem = {
  status: 413,
  tag: "UploadTooLarge",
  title: `The upload is too large: ${uploadBytesMax} bytes may be uploaded at most.`
}
export const beyondLength: Problem = {
  status: 413,
  tag: "UploadTooLarge",
  title: "The request has more bytes than the upload has left; none of them were kept."
}
