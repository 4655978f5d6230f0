// Whether content is text, and of which kind, from its first bytes. A guess where only part of it is at hand, and the same guess every time.
import { isMail } from "@holdfast/scanner/Containers"

export type TextKind = "html" | "svg" | "xml" | "json" | "mail" | "plain"

/** Null for anything but text; `isWhole` when there is no more of it than this. */
export const textKindOf = (head: Buffer, isWhole: boolean): TextKind | null => {
  const text = decoded(head)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the point is to find them
  if (text === null || /[\u0000-\u0008\u000e-\u001a\u001c-\u001f]/.test(text)) return null
  const begin = text.replace(/^\ufeff/, "").trimStart()
  if (begin.startsWith("<")) return markupKindOf(begin)
  if (isJson(begin, isWhole)) return "json"
  return isMail(head) ? "mail" : "plain"
}

/** UTF-8, or UTF-16 that says so; the last character may be cut. */
const decoded = (head: Buffer): string | null => {
  const encoding = encodingOf(head)
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM: true }).decode(head, { stream: true })
  } catch {
    return null
  }
}

const encodingOf = ([first, second]: Buffer): "utf-16le" | "utf-16be" | "utf-8" => {
  if (first === 0xff && second === 0xfe) return "utf-16le"
  return first === 0xfe && second === 0xff ? "utf-16be" : "utf-8"
}

const prolog = /^(?:\s+|<\?[^>]{0,1000}\?>|<!--[\s\S]{0,10000}?-->)/
const svgDoctype = /^<!DOCTYPE\s+svg\b[^[>]{0,1000}(?:\[[^\]]{0,10000}\]\s*)?>/i
const page =
  /^<(?:!doctype\s+html|html|head|title|meta|link|style|script|body|iframe|table|div|span|font|center|form|p|a|b|h[1-6]|img|br)(?=[\s>/])/i

const markupKindOf = (begin: string): TextKind => {
  let rest = begin
  for (let skipped = prolog.exec(rest); skipped !== null; skipped = prolog.exec(rest))
    rest = rest.slice(skipped[0].length)
  if (page.test(rest)) return "html"
  const root = rest.replace(svgDoctype, "").replace(prolog, "").trimStart()
  if (/^<(?:[a-z]{1,20}:)?svg[\s>/]/i.test(root)) return "svg"
  return /^<[a-z_!:]/i.test(rest) || rest !== begin ? "xml" : "plain"
}

const isJson = (begin: string, isWhole: boolean): boolean => {
  if (!isWhole) return /^[[{]\s*(["[{\]}\d-]|true|false|null)/.test(begin)
  try {
    JSON.parse(begin)
    // A lone word or number is text as much as it is JSON.
    return true
  } catch {
    return false
  }
}
