// Whether what a client declared fits what the content is. Content decides; a declaration only chooses among types that look alike from
// the outside (an office document is a ZIP, a CSV is text). A declaration that contradicts the content is refused, never corrected.
import { Result } from "effect"
import type { TextKind } from "./TextKinds.ts"

export interface Evidence {
  /** By its magic bytes; null when none are known. */
  readonly detected: string | null
  /** What kind of text it is; null when it is none. */
  readonly text: TextKind | null
}

/** The media type, or why the declaration does not fit. */
export const identify = (declared: string, { detected, text }: Evidence): Result.Result<string, string> => {
  const claimed = aliases.get(declared) ?? declared
  // XML is text that happens to have a signature; what kind of it this is the text tells.
  if (text !== null && (detected === null || aliases.get(detected) === xml || detected === xml)) {
    return againstText(claimed, text)
  }
  if (detected !== null) return againstDetected(claimed, aliases.get(detected) ?? detected)
  return knownByMagic(claimed) || isTextType(claimed)
    ? Result.fail(`declared ${claimed}, but the content is not`)
    : Result.succeed(claimed)
}

const unknown = "application/octet-stream"
const xml = "application/xml"

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

const typeOfText: Readonly<Record<TextKind, string>> = {
  html: "text/html",
  svg: "image/svg+xml",
  xml,
  json: "application/json",
  mail: "message/rfc822",
  plain: "text/plain"
}

/** Claims that only some texts can fulfil. Tables do not begin as pages do: a spreadsheet would open the page. */
const textClaims: ReadonlyArray<readonly [claim: RegExp, kinds: ReadonlyArray<TextKind>]> = [
  [/^image\/svg\+xml$/, ["svg"]],
  [/^application\/xml$|\+xml$/, ["xml", "svg", "html"]],
  [/^application\/json$|\+json$/, ["json"]],
  [/^message\/rfc822$/, ["mail"]],
  [/^text\/(csv|tab-separated-values|calendar|vcard)$/, ["plain", "json", "mail"]]
]

const againstText = (claimed: string, kind: TextKind): Result.Result<string, string> => {
  if (claimed === unknown) return Result.succeed(typeOfText[kind])
  const fits = textClaims.find(([claim]) => claim.test(claimed))?.[1].includes(kind)
  if (fits === false) {
    return Result.fail(`declared ${claimed}, but the content is ${kind === "plain" ? "other text" : typeOfText[kind]}`)
  }
  return fits === true || isTextType(claimed) || !knownByMagic(claimed)
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

/** Extensions of types that people open without a second thought; anything else under such a name is a disguise. */
const typeByExtension: ReadonlyMap<string, RegExp> = new Map([
  ["png", /^image\/png$/],
  ["jpg", /^image\/jpeg$/],
  ["jpeg", /^image\/jpeg$/],
  ["gif", /^image\/gif$/],
  ["webp", /^image\/webp$/],
  ["tif", /^image\/tiff$/],
  ["tiff", /^image\/tiff$/],
  ["svg", /^image\/svg\+xml$/],
  ["pdf", /^application\/pdf$/],
  ["txt", /^(text\/|message\/rfc822$|image\/svg\+xml$|application\/(json|xml)$)/],
  ["csv", /^(text\/(?!html)|application\/json$)/]
])

/** Why a name does not fit the media type; null when it does, or promises nothing. */
export const nameContradicts = (name: string, mediaType: string): string | null => {
  const extension = /\.([a-z0-9]+)$/i.exec(name)?.[1]?.toLowerCase()
  const expected = extension === undefined ? undefined : typeByExtension.get(extension)
  return expected === undefined || expected.test(mediaType)
    ? null
    : `named .${extension}, but the content is ${mediaType}`
}

/** Windows declares a table as whatever program opens it. */
export const declaredFor = (name: string, declared: string): string =>
  declared === "application/vnd.ms-excel" && /\.csv$/i.test(name) ? "text/csv" : declared
