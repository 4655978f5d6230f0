// Refusals over HTTP as problem details (RFC 9457), in the shape that the desk's commands use.
import { Schema } from "effect"

export interface Problem {
  readonly status: number
  readonly tag: string
  readonly title: string
  readonly fields?: Readonly<Record<string, unknown>>
}

export const problemType = "application/problem+json"

export const problemBody = ({ fields, status, tag, title }: Problem): string =>
  JSON.stringify({ type: `urn:holdfast:problem:${tag}`, title, status, ...fields })

/** Seconds; for whoever may come again. */
const retryAfterByStatus: ReadonlyMap<number, string> = new Map([
  [429, "5"],
  [503, "5"],
  [507, "60"]
])

export const problemHeaders = (status: number): Readonly<Record<string, string>> => {
  const retryAfter = retryAfterByStatus.get(status)
  return {
    "content-type": problemType,
    "cache-control": "no-store",
    ...(status === 401 ? { "www-authenticate": "Bearer" } : {}),
    ...(retryAfter === undefined ? {} : { "retry-after": retryAfter })
  }
}

/** Thrown inside the tus library, which answers with exactly this. */
export class TusRefusal extends Schema.TaggedError<TusRefusal>()("TusRefusal", {
  status_code: Schema.Int,
  body: Schema.String
}) {}

export const tusRefusal = (problem: Problem): TusRefusal =>
  new TusRefusal({ status_code: problem.status, body: problemBody(problem) })

const tagByStatus: ReadonlyMap<number, string> = new Map([
  [400, "UploadRequestNotValid"],
  [403, "UploadRequestNotValid"],
  [404, "FileNotFound"],
  [405, "MethodNotAllowed"],
  [409, "UploadOffsetConflict"],
  [410, "UploadExpired"],
  [412, "TusVersionNotSupported"],
  [413, "UploadTooLarge"],
  [501, "TusExtensionNotSupported"]
])

/** The tus library's own refusals are plain text; what it says of failures inside is for the log alone. */
export const fromTusText = (status: number, text: string): string => {
  if (text.startsWith("{")) return text
  const isOurs = status >= 500 && status !== 501
  return problemBody({
    status,
    tag: isOurs ? "UploadFailed" : (tagByStatus.get(status) ?? "UploadRequestNotValid"),
    title: isOurs ? "The upload could not be kept; resume it." : text.trim()
  })
}
