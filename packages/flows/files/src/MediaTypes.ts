// Whether what a client declared fits what the content is. Content decides; a declaration only chooses among types that look alike from
// the outside (an office document is a ZIP, a CSV is text). A declaration that contradicts the content is refused, never corrected.
import { Result } from "effect"

export interface Evidence {
  /** By its magic bytes; null when none are known. */
  readonly detected: string | null
  /** Only characters of UTF-8 text. */
  readonly isText: boolean
}

/** The media type, or why the declaration does not fit. */
export const identify = (declared: string, { detected, isText }: Evidence): Result.Result<string, string> => {
  const claimed = aliases.get(declared) ?? declared
  if (detected !== null) return againstDetected(claimed, aliases.get(detected) ?? detected)
  if (isText) return againstText(claimed)
  return knownByMagic(claimed) || isTextType(claimed)
    ? Result.fail(`declared ${claimed}, but the content is not`)
    : Result.succeed(claimed)
}

const unknown = "application/octet-stream"

/** Other names for the same type, as clients still send them. */
const aliases: ReadonlyMap<string, string> = new Map([
  ["image/jpg", "image/jpeg"],
  ["image/pjpeg", "image/jpeg"],
  ["image/x-png", "image/png"],
  ["image/apng", "image/png"],
  ["application/x-zip-compressed", "application/zip"],
  ["application/x-zip", "application/zip"],
  ["application/x-pdf", "application/pdf"],
  ["application/x-gzip", "application/gzip"],
  ["application/x-rar-compressed", "application/x-rar"],
  ["application/vnd.rar", "application/x-rar"],
  ["audio/x-wav", "audio/wav"],
  ["audio/vnd.wave", "audio/wav"],
  ["audio/mp3", "audio/mpeg"],
  ["audio/x-m4a", "audio/mp4"],
  ["text/xml", "application/xml"],
  ["application/x-msdos-program", "application/x-msdownload"],
  ["application/vnd.microsoft.portable-executable", "application/x-msdownload"]
])

/** Formats that are another format inside a container: the declaration may name the inner one. */
const containers: ReadonlyMap<string, RegExp> = new Map([
  ["application/zip", /^application\/(vnd\.openxmlformats-|vnd\.oasis\.|vnd\.ms-|epub|java-archive|x-zip)/],
  ["application/x-cfb", /^application\/(msword|vnd\.ms-|vnd\.visio|x-msi|x-ole)/],
  ["application/xml", /^(text\/|image\/svg\+xml$|application\/.*xml)/],
  ["video/mp4", /^(audio|video)\//],
  ["application/ogg", /^(audio|video)\//],
  ["video/webm", /^audio\/webm$/],
  ["video/matroska", /^(audio|video)\//],
  ["application/gzip", /^application\/(x-tar|x-tgz|x-compressed)/]
])

const againstDetected = (claimed: string, detected: string): Result.Result<string, string> => {
  if (claimed === detected || claimed === unknown) return Result.succeed(detected)
  if (containers.get(detected)?.test(claimed)) return Result.succeed(claimed)
  const isSameFamily = [claimed, detected].every((type) => /^application\/(vnd\.openxmlformats-|vnd\.ms-)/.test(type))
  return isSameFamily ? Result.succeed(detected) : Result.fail(`declared ${claimed}, but the content is ${detected}`)
}

const againstText = (claimed: string): Result.Result<string, string> => {
  if (claimed === unknown) return Result.succeed("text/plain")
  return isTextType(claimed) || !knownByMagic(claimed)
    ? Result.succeed(claimed)
    : Result.fail(`declared ${claimed}, but the content is text`)
}

const isTextType = (type: string): boolean =>
  /^text\/|^application\/(json|xml|yaml|x-yaml|toml|sql|javascript|x-sh|x-ndjson|rtf)$|\+(json|xml)$/.test(type)

/** Types that always show themselves: content without their signature is something else. */
const knownByMagic = (type: string): boolean =>
  (/^image\//.test(type) && type !== "image/svg+xml") ||
  /^application\/(pdf|zip|gzip|x-rar|x-7z-compressed|x-bzip2|x-xz|msword|x-msdownload|vnd\.(openxmlformats-|oasis\.opendocument|ms-excel|ms-powerpoint))/.test(
    type
  )

/** UTF-8 without control characters other than those that lay text out; the last character may be cut. */
export const isUtf8Text = (head: Uint8Array): boolean => {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(head, { stream: true })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the point is to find them
    return !/[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/.test(text)
  } catch {
    return false
  }
}
