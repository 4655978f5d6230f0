// Files that are two things at once, told where that is cheap: at both ends. A picture or a document that is an archive, a page or a program to
// somebody else has no honest use.
import { endOfZip } from "@holdfast/scanner/Containers"

/** What else it is, or null. */
export const alsoIs = (detected: string | null, head: Buffer, tail: Buffer): string | null => {
  const isPicture = detected !== null && /^image\//.test(detected)
  if (isPicture && isAlsoCode(detected, head)) return `${detected} that is a page or a program as well`
  const isOneThing = isPicture || /^(application\/pdf|audio\/.*|video\/.*)$/.test(detected ?? "")
  return isOneThing && endOfZip(tail) !== null ? `${detected} that is an archive as well` : null
}

const headBytes = 4096
const page = /<(script|html|!doctype\s+html|svg|iframe|body|\?php)[\s>]|javascript:/i
/** What would be the width of the picture opens a comment or assigns something. */
const gifProgram = /^GIF8[79]a(\/\*|=[\x20-\x7e])/

const isAlsoCode = (detected: string, head: Buffer): boolean => {
  // Scalable pictures are pages by nature; they are only ever given as attachments.
  if (detected === "image/svg+xml") return false
  const text = head.toString("latin1", 0, headBytes)
  return page.test(text) || gifProgram.test(text)
}
