// What kinds of file have something inside, told from their first and last bytes alone. Pure, and cheap enough for every file.

export type Container =
  | "zip"
  | "gzip"
  | "tar"
  | "mail"
  | "pdf"
  | "xml"
  | "ole"
  /** Known, and never opened here. */
  | "opaque"

/** Null for what has nothing inside. */
export const containerOf = (head: Buffer, tail: Buffer): Container | null => {
  if (startsWith(head, 0x50, 0x4b, 0x03, 0x04) || endOfZip(tail) !== null) return "zip"
  if (startsWith(head, 0x1f, 0x8b)) return "gzip"
  if (isTarHeader(head)) return "tar"
  if (head.subarray(0, 1024).includes("%PDF-")) return "pdf"
  if (startsWith(head, 0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1)) return "ole"
  if (opaqueKind(head) !== null) return "opaque"
  if (declaresEntities(head)) return "xml"
  return isMail(head) ? "mail" : null
}

const startsWith = (content: Buffer, ...bytes: ReadonlyArray<number>): boolean =>
  bytes.every((byte, index) => content[index] === byte)

/** Archives and compressed files that this desk has no decoder for. */
export const opaqueKind = (head: Buffer): string | null =>
  signatures.find(({ at = 0, bytes }) => head.subarray(at, at + bytes.length).equals(bytes))?.kind ??
  textualSignatures.find(({ form }) => form.test(head.toString("latin1", 0, 128)))?.kind ??
  null

/** Signatures that a letter could begin with: more of the header must be there. */
const textualSignatures: ReadonlyArray<{ readonly kind: string; readonly form: RegExp }> = [
  { kind: "LHA", form: /^[\s\S]{2}-l[hz][0-9a-z]-/ },
  { kind: "cpio", form: /^(07070[12][0-9a-f]{104}|070707[0-7]{70})/i },
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the version of the format
  { kind: "lzip", form: /^LZIP[\u0000\u0001]/ }
]

const signatures: ReadonlyArray<{ readonly kind: string; readonly bytes: Buffer; readonly at?: number }> = [
  { kind: "7z", bytes: Buffer.from("377abcaf271c", "hex") },
  { kind: "RAR", bytes: Buffer.from("526172211a07", "hex") },
  { kind: "xz", bytes: Buffer.from("fd377a585a00", "hex") },
  { kind: "bzip2", bytes: Buffer.from("314159265359", "hex"), at: 4 },
  { kind: "Zstandard", bytes: Buffer.from("28b52ffd", "hex") },
  { kind: "LZ4", bytes: Buffer.from("04224d18", "hex") },
  { kind: "compress", bytes: Buffer.from("1f9d90", "hex") },
  { kind: "cabinet", bytes: Buffer.from("MSCF\0\0\0\0", "latin1") },
  { kind: "ar", bytes: Buffer.from("!<arch>\n") },
  { kind: "disk image", bytes: Buffer.from("CD001"), at: 0x8001 },
  { kind: "split ZIP", bytes: Buffer.from("504b0708", "hex") }
]

export interface ZipEnd {
  /** Within what was given. */
  readonly at: number
  readonly entries: number
  readonly directoryBytes: number
  readonly directoryAt: number
}

const endSignature = Buffer.from("504b0506", "hex")
const endBytes = 22

/** The end record of a ZIP, wherever in the last bytes: readers find it behind anything, and with anything behind it. */
export const endOfZip = (tail: Buffer): ZipEnd | null => {
  for (let at = tail.lastIndexOf(endSignature); at >= 0; at = at === 0 ? -1 : tail.lastIndexOf(endSignature, at - 1)) {
    if (at + endBytes > tail.length) continue
    const end = {
      at,
      entries: tail.readUInt16LE(at + 10),
      directoryBytes: tail.readUInt32LE(at + 12),
      directoryAt: tail.readUInt32LE(at + 16)
    }
    const isOnDisk0 = tail.readUInt16LE(at + 4) === tail.readUInt16LE(at + 6)
    if (isOnDisk0 && isPlausible(tail, end)) return end
  }
  return null
}

/** Where the directory lies within the same bytes, it shows its own signature; four random bytes are no archive. */
const isPlausible = (tail: Buffer, { at, directoryBytes, entries }: ZipEnd): boolean => {
  if (directoryBytes === 0xffffffff || directoryBytes > at) return entries > 0
  return entries > 0 && tail.readUInt32LE(at - directoryBytes) === 0x02014b50
}

/** A header block whose checksum is right (POSIX ustar, 512 bytes); of the old format, too. */
export const isTarHeader = (block: Buffer): boolean => {
  if (block.length < 512) return false
  const stated = Number.parseInt(block.toString("latin1", 148, 156).replace(/[\0 ]+$/, ""), 8)
  if (!(stated > 0)) return false
  let sum = 8 * 0x20
  for (let at = 0; at < 512; at++) if (at < 148 || at >= 156) sum += block[at] ?? 0
  return sum === stated
}

/** Text as somebody would read it who looks at the byte order mark, or at the NULs where there is none. */
export const textOf = (bytes: Buffer): string => {
  if (startsWith(bytes, 0xff, 0xfe)) return bytes.toString("utf16le")
  if (startsWith(bytes, 0xfe, 0xff)) return swapped(bytes).toString("utf16le")
  if (bytes[0] === 0x3c && bytes[1] === 0) return bytes.toString("utf16le")
  if (bytes[0] === 0 && bytes[1] === 0x3c) return swapped(bytes).toString("utf16le")
  return bytes.toString("latin1")
}

const swapped = (bytes: Buffer): Buffer => Buffer.from(bytes.subarray(0, bytes.length & ~1)).swap16()

const declaresEntities = (head: Buffer): boolean => {
  const text = textOf(head)
  return /^(\ufeff|\u00ef\u00bb\u00bf)?\s*</.test(text) && /<!ENTITY\s/i.test(text)
}

const mailField =
  /^(received|return-path|delivered-to|message-id|mime-version|from|to|subject|date|content-type|x-[a-z-]+):[ \t]?.*$/i

/** A block of header fields, among them some that only messages have. */
export const isMail = (head: Buffer): boolean => {
  const lines = head.toString("latin1", 0, 8192).split(/\r?\n/)
  const end = lines.indexOf("")
  const fields = lines.slice(0, end < 0 ? lines.length - 1 : end).filter((line) => !/^[ \t]/.test(line))
  if (fields.length < 2 || !fields.every((line) => /^[!-9;-~]+:/.test(line) || /^From /.test(line))) return false
  const known = new Set(fields.filter((line) => mailField.test(line)).map((line) => line.split(":")[0]?.toLowerCase()))
  return known.size >= 2 && ["from", "received", "message-id", "mime-version"].some((name) => known.has(name))
}
