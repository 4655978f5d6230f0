// ZIP (APPNOTE 6.3), by its central directory as unpackers read it; ZIP64, and archives behind something else, included.
import { Readable } from "node:stream"
import { createInflateRaw } from "node:zlib"
import { endOfZip } from "../Containers.ts"
import { bad, beyond } from "./Findings.ts"
import { type Chunks, checkName, enter, type Level, readAt, slice } from "./Walk.ts"

export const walkZip = async (level: Level): Promise<void> => {
  const directory = await findDirectory(level)
  const bytes = await readAt(level.file, directory.at, directory.bytes)
  const entries = readEntries(bytes, directory, level)
  if (entries.some(({ name }) => /(^|[/\\])vbaProject\.bin$/i.test(name))) {
    throw bad("type_not_allowed", "a document with macros")
  }
  await enterInOrder(level, directory, entries)
}

interface Directory {
  readonly at: number
  readonly bytes: number
  readonly entries: number
  /** What stands in front of the archive moves everything by so much. */
  readonly shift: number
}

const findDirectory = async ({ budget, file, sizeBytes }: Level): Promise<Directory> => {
  const tailBytes = Math.min(sizeBytes, budget.limits.tailBytes)
  const tailAt = sizeBytes - tailBytes
  const tail = await readAt(file, tailAt, tailBytes)
  const end = endOfZip(tail)
  if (end === null) throw bad("malformed", "an archive without an end")
  const large = end.at >= 20 ? await zip64End(file, tail.subarray(end.at - 20, end.at)) : null
  const { directoryAt, directoryBytes, entries } = large ?? end
  const directoryEnd = large?.at ?? tailAt + end.at
  budget.hold(directoryBytes, "an archive's directory")
  if (entries > budget.limits.entriesMax) throw beyond(`more than ${budget.limits.entriesMax} entries`)
  const at = directoryEnd - directoryBytes
  if (at < 0) throw bad("malformed", "an archive whose directory is not there")
  return { at, bytes: directoryBytes, entries, shift: at - directoryAt }
}

const zip64End = async (file: Level["file"], locator: Buffer) => {
  if (locator.length < 20 || locator.readUInt32LE(0) !== 0x07064b50) return null
  const at = Number(locator.readBigUInt64LE(8))
  if (!Number.isSafeInteger(at)) throw bad("malformed", "an archive whose directory is not there")
  const end = await readAt(file, at, 56)
  if (end.length < 56 || end.readUInt32LE(0) !== 0x06064b50) throw bad("malformed", "an archive without an end")
  const numberAt = (offset: number) => Number(end.readBigUInt64LE(offset))
  return { at, entries: numberAt(32), directoryBytes: numberAt(40), directoryAt: numberAt(48) }
}

interface ZipEntry {
  readonly name: string
  readonly isEncrypted: boolean
  readonly method: number
  readonly packedBytes: number
  readonly at: number
}

const readEntries = (bytes: Buffer, directory: Directory, { budget }: Level): ReadonlyArray<ZipEntry> => {
  const entries: Array<ZipEntry> = []
  let at = 0
  while (at + 46 <= bytes.length && bytes.readUInt32LE(at) === 0x02014b50) {
    const nameBytes = bytes.readUInt16LE(at + 28)
    const extraBytes = bytes.readUInt16LE(at + 30)
    const nameAt = at + 46
    const extra = bytes.subarray(nameAt + nameBytes, nameAt + nameBytes + extraBytes)
    entries.push(
      oneEntry(bytes.subarray(at, nameAt), bytes.subarray(nameAt, nameAt + nameBytes), extra, directory.shift)
    )
    if (entries.length > budget.limits.entriesMax) throw beyond(`more than ${budget.limits.entriesMax} entries`)
    at = nameAt + nameBytes + extraBytes + bytes.readUInt16LE(at + 32)
  }
  // Fewer than announced, or something between them: other readers may see another archive than we do.
  if (at !== bytes.length || (directory.entries !== entries.length && directory.entries !== entries.length % 65_536)) {
    throw bad("malformed", "an archive whose directory contradicts itself")
  }
  return entries
}

const oneEntry = (header: Buffer, name: Buffer, extra: Buffer, shift: number): ZipEntry => {
  const flags = header.readUInt16LE(8)
  const sizes = largeSizes(header, extra)
  const decoded = name.toString((flags & 0x0800) === 0 ? "latin1" : "utf8")
  checkName(decoded)
  const method = header.readUInt16LE(10)
  return {
    name: decoded,
    // Method 99 is AES.
    isEncrypted: isEncrypted(flags) || method === 99,
    method,
    packedBytes: sizes.packedBytes,
    at: sizes.at + shift
  }
}

/** ZIP64 extends exactly the fields that are full, in this order. */
const largeSizes = (header: Buffer, extra: Buffer): { readonly packedBytes: number; readonly at: number } => {
  const fields = [header.readUInt32LE(24), header.readUInt32LE(20), header.readUInt32LE(42)]
  const large = extraField(extra, 0x0001)
  let from = 0
  const [, packedBytes = 0, at = 0] = fields.map((value) => {
    if (value !== 0xffffffff || large === null || from + 8 > large.length) return value
    from += 8
    return Number(large.readBigUInt64LE(from - 8))
  })
  return { packedBytes, at }
}

const extraField = (extra: Buffer, id: number): Buffer | null => {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) === id) return extra.subarray(at + 4, at + 4 + extra.readUInt16LE(at + 2))
  }
  return null
}

/**
 * Entries that share their bytes are how a small archive becomes a huge one without nesting (Fifield, 2019); entries that the directory does
 * not name are seen by unpackers that do not ask it.
 */
const enterInOrder = async (level: Level, directory: Directory, entries: ReadonlyArray<ZipEntry>): Promise<void> => {
  let endAt = 0
  for (const entry of [...entries].sort((a, b) => a.at - b.at)) {
    if (entry.at < endAt) throw beyond("an archive whose entries overlap")
    await checkGap(level, endAt, entry.at)
    endAt = await enterOne(level, entry)
  }
  await checkGap(level, endAt, directory.at)
}

const localSignature = Buffer.from("504b0304", "hex")

const checkGap = async (level: Level, from: number, to: number): Promise<void> => {
  let before = Buffer.alloc(0)
  for await (const chunk of slice(level.path, from, to - from)) {
    const window = Buffer.concat([before, chunk])
    if (window.includes(localSignature))
      throw bad("malformed", "an archive with entries that its directory does not name")
    before = window.subarray(-3)
  }
}

/** Where the entry ends. */
const enterOne = async (level: Level, entry: ZipEntry): Promise<number> => {
  const header = await readAt(level.file, entry.at, 30)
  if (header.length < 30 || !header.subarray(0, 4).equals(localSignature)) {
    throw bad("malformed", "an archive whose directory points to nothing")
  }
  const start = entry.at + 30 + header.readUInt16LE(26) + header.readUInt16LE(28)
  const end = start + entry.packedBytes
  if (end > level.sizeBytes) throw bad("malformed", "an archive that ends too early")
  await enterContent(level, { ...entry, isEncrypted: entry.isEncrypted || isEncrypted(header.readUInt16LE(6)) }, start)
  return end
}

const enterContent = async (level: Level, { isEncrypted, method, name, packedBytes }: ZipEntry, start: number) => {
  if (isEncrypted) return level.budget.cannotLookInto("encrypted", "an encrypted entry cannot be looked into")
  const packed = () => slice(level.path, start, packedBytes)
  if (method === 0) return enter(level, { name, chunks: packed })
  if (method === 8) return enter(level, { name, chunks: () => inflated(packed()) })
  level.budget.cannotLookInto("type_not_allowed", `an entry packed by method ${method} cannot be looked into here`)
}

/** Bit 0; strong encryption; hidden headers. */
const isEncrypted = (flags: number): boolean => (flags & 0x2041) !== 0

const inflated = async function* (packed: Chunks): AsyncGenerator<Uint8Array> {
  const source = Readable.from(packed, { objectMode: false })
  const inflate = createInflateRaw({ chunkSize: 1 << 18 })
  source.on("error", (error) => inflate.destroy(error))
  try {
    yield* source.pipe(inflate)
  } catch (error) {
    throw unpacked(error)
  } finally {
    source.destroy()
    inflate.destroy()
  }
}

/** The decoder's complaint about the content; anything else is ours. */
export const unpacked = (error: unknown): unknown =>
  error instanceof Error && "code" in error && /^Z_/.test(String(error.code))
    ? bad("malformed", "an archive whose content is damaged")
    : error
