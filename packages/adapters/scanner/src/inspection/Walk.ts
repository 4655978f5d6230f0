// Goes through what is inside a file, level by level. Each thing inside is read once for its rules and its bounds; what has something
// inside itself is then written to the private folder, gone through in the same way, and removed.
import { createReadStream } from "node:fs"
import { type FileHandle, open, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { type Container, containerOf, opaqueKind } from "../Containers.ts"
import { type Findings, look, nothingYet } from "../ContentRules.ts"
import { pixelsOf } from "../PictureSize.ts"
import type { Budget } from "./Budget.ts"
import { bad, beyond } from "./Findings.ts"
import { walkGzip } from "./Gzip.ts"
import { walkMail } from "./Mail.ts"
import { walkPdf } from "./Pdf.ts"
import { walkTar } from "./Tar.ts"
import { checkEntities } from "./Xml.ts"
import { walkZip } from "./Zip.ts"

/** A file on disk that is looked into. */
export interface Level {
  readonly path: string
  readonly file: FileHandle
  readonly sizeBytes: number
  readonly budget: Budget
  /** 1 for the uploaded file. */
  readonly depth: number
  /** Where nested ones are put meanwhile. */
  readonly folder: string
}

export type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>

/** Something inside; it is read twice when it has something inside itself. */
export interface Entry {
  readonly name: string
  readonly chunks: () => Chunks
  readonly isPicture?: boolean
}

/** Through one file on disk, and everything inside. */
export const walk = async (path: string, budget: Budget, folder: string, depth = 1): Promise<void> => {
  budget.enter(depth)
  const file = await open(path)
  try {
    const { size } = await file.stat()
    const level = { path, file, sizeBytes: size, budget, depth, folder }
    const { headBytes, tailBytes } = budget.limits
    const head = await readAt(file, 0, Math.min(size, headBytes))
    const tail = await readAt(file, Math.max(0, size - tailBytes), Math.min(size, tailBytes))
    await lookInto(containerOf(head, tail), level, head)
  } finally {
    await file.close()
  }
}

const lookInto = async (container: Container | null, level: Level, head: Buffer): Promise<void> => {
  switch (container) {
    case "zip":
      return walkZip(level)
    case "gzip":
      return walkGzip(level)
    case "tar":
      return walkTar(level)
    case "mail":
      return walkMail(level)
    case "pdf":
      return walkPdf(level)
    case "xml":
      return checkEntities(level)
    case "ole":
      return checkOle(level)
    case "opaque":
      return level.budget.cannotLookInto("type_not_allowed", `${opaqueKind(head)} cannot be looked into here`)
    case null:
      return
  }
}

/** One thing inside `level`. */
export const enter = async (level: Level, entry: Entry): Promise<void> => {
  const { budget } = level
  budget.spendEntry()
  const findings = await examine(entry, budget)
  if (findings.found.has("eicar")) throw bad("malware", `the EICAR test string inside: ${printable(entry.name)}`)
  const pixels = pixelsOf(findings.head) ?? 0
  if (pixels > budget.limits.pixelsMax) throw beyond(`a picture of ${pixels} pixels inside`)
  if (containerOf(findings.head, findings.tail) === null) return
  const path = join(level.folder, `level-${level.depth + 1}`)
  try {
    await writeFile(path, entry.chunks(), { mode: 0o600 })
    await walk(path, budget, level.folder, level.depth + 1)
  } finally {
    await rm(path, { force: true })
  }
}

const examine = async ({ chunks, isPicture = false }: Entry, budget: Budget): Promise<Findings> => {
  const next = look(budget.limits)
  let findings = nothingYet
  for await (const chunk of chunks()) {
    budget.spendBytes(chunk.length, isPicture)
    findings = next(findings, chunk)
  }
  return findings
}

/** An old office document: its directory names the streams, in UTF-16. */
const checkOle = async ({ budget, path, sizeBytes }: Level): Promise<void> => {
  budget.hold(sizeBytes, "an office document")
  let findings = nothingYet
  const next = look(budget.limits)
  for await (const chunk of createReadStream(path)) findings = next(findings, chunk)
  if (findings.found.has("oleMacros")) throw bad("type_not_allowed", "a document with macros")
  if (findings.found.has("oleEncrypted")) budget.cannotLookInto("encrypted", "an encrypted office document")
}

/** Exactly so many bytes, or fewer where the file ends. */
export const readAt = async (file: FileHandle, position: number, length: number): Promise<Buffer> => {
  const buffer = Buffer.alloc(length)
  const { bytesRead } = await file.read(buffer, 0, length, position)
  return buffer.subarray(0, bytesRead)
}

/** A part of the file as it is. */
export const slice = (path: string, start: number, length: number): Chunks =>
  length <= 0 ? [] : createReadStream(path, { start, end: start + length - 1, highWaterMark: 1 << 18 })

/** A name inside an archive is somebody else's text. */
export const printable = (name: string): string => name.replace(/[^\x20-\x7e]+/g, "?").slice(0, 100) || "unnamed"

// biome-ignore lint/suspicious/noControlCharactersInRegex: the point is to find them
const deceptive = /[\u0000-\u001f\u007f\u202a-\u202e\u2066-\u2069]/

/** Names that lead out of the folder they are unpacked in, or that deceive their reader. */
export const checkName = (name: string): void => {
  const parts = name.split(/[/\\]/)
  if (parts.includes("..") || /^([/\\]|[a-z]:)/i.test(name)) {
    throw bad("malformed", `a name inside leads out of its folder: ${printable(name)}`)
  }
  if (deceptive.test(name)) throw bad("malformed", `a name inside holds deceptive characters: ${printable(name)}`)
}
