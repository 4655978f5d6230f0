// Archives made by hand, because the tools that make honest ones refuse to make these.
import { constants, crc32, deflateRawSync } from "node:zlib"

export interface ZipEntry {
  readonly name: string
  readonly content: Uint8Array
  /** Packed unless told otherwise. */
  readonly isStored?: boolean
  readonly isEncrypted?: boolean
}

/** A ZIP of these entries; `front` stands before it, as in a polyglot. */
export const zip = (entries: ReadonlyArray<ZipEntry>, front: Uint8Array = new Uint8Array()): Buffer =>
  zipOf(entries.map(packed), front)

/** An entry whose packed bytes are given. */
export interface PackedEntry {
  readonly name: string
  readonly method: number
  readonly flags: number
  readonly packed: Uint8Array
  readonly checksum: number
  readonly sizeBytes: number
}

const packed = ({ content, isEncrypted = false, isStored = false, name }: ZipEntry): PackedEntry => ({
  name,
  method: isStored ? 0 : 8,
  flags: 0x0800 | (isEncrypted ? 1 : 0),
  packed: isStored ? content : deflateRawSync(content),
  checksum: crc32(content),
  sizeBytes: content.length
})

export const zipOf = (entries: ReadonlyArray<PackedEntry>, front: Uint8Array = new Uint8Array()): Buffer => {
  const parts: Array<Uint8Array> = [front]
  const directory: Array<Buffer> = []
  let at = front.length
  for (const entry of entries) {
    const local = Buffer.concat([header(0x04034b50, 30, 4, entry), Buffer.from(entry.name)])
    directory.push(directoryEntry(entry, at))
    parts.push(local, entry.packed)
    at += local.length + entry.packed.length
  }
  const directoryBytes = directory.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([...parts, ...directory, endRecord(entries.length, directoryBytes, at)])
}

/** Fields that the local header and the directory share, from `at` on. */
const header = (signature: number, length: number, at: number, entry: PackedEntry): Buffer => {
  const bytes = Buffer.alloc(length)
  bytes.writeUInt32LE(signature, 0)
  bytes.writeUInt16LE(20, at)
  bytes.writeUInt16LE(entry.flags, at + 2)
  bytes.writeUInt16LE(entry.method, at + 4)
  bytes.writeUInt32LE(entry.checksum, at + 10)
  bytes.writeUInt32LE(entry.packed.length, at + 14)
  bytes.writeUInt32LE(entry.sizeBytes, at + 18)
  bytes.writeUInt16LE(Buffer.byteLength(entry.name), at + 22)
  return bytes
}

const directoryEntry = (entry: PackedEntry, at: number): Buffer => {
  const bytes = header(0x02014b50, 46, 6, entry)
  bytes.writeUInt16LE(20, 4)
  bytes.writeUInt32LE(at, 42)
  return Buffer.concat([bytes, Buffer.from(entry.name)])
}

const endRecord = (entries: number, directoryBytes: number, directoryAt: number): Buffer => {
  const bytes = Buffer.alloc(22)
  bytes.writeUInt32LE(0x06054b50, 0)
  bytes.writeUInt16LE(entries, 8)
  bytes.writeUInt16LE(entries, 10)
  bytes.writeUInt32LE(directoryBytes, 12)
  bytes.writeUInt32LE(directoryAt, 16)
  return bytes
}

const mebibyte = Buffer.alloc(1 << 20)
const lastBlock = Buffer.from([0x03, 0x00])

/** So many MiB of NULs as one deflate stream, made in no time: one MiB is packed and its bytes are repeated. */
export const deflatedZeros = (mebibytes: number): { readonly packed: Buffer; readonly checksum: number } => {
  const one = deflateRawSync(mebibyte, { level: 9, finishFlush: constants.Z_FULL_FLUSH })
  let checksum = 0
  for (let count = 0; count < mebibytes; count++) checksum = crc32(mebibyte, checksum)
  return { packed: Buffer.concat([...Array.from({ length: mebibytes }, () => one), lastBlock]), checksum }
}

export const gzipOfZeros = (mebibytes: number): Buffer => {
  const { checksum, packed: content } = deflatedZeros(mebibytes)
  const end = Buffer.alloc(8)
  end.writeUInt32LE(checksum, 0)
  end.writeUInt32LE((mebibytes * mebibyte.length) % 2 ** 32, 4)
  return Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]), content, end])
}

/** A ZIP with so many identical entries of so many MiB each. */
export const zipOfZeros = (mebibytes: number, entries = 1): Buffer => {
  const { checksum, packed: content } = deflatedZeros(mebibytes)
  const sizeBytes = mebibytes * mebibyte.length
  return zipOf(
    Array.from({ length: entries }, (_, index) => ({
      ...{ name: `zeros-${index}.bin`, method: 8, flags: 0, packed: content, checksum, sizeBytes }
    }))
  )
}

/** Archives inside each other, `width` of them on each level. */
export const nestedZip = (innermost: Uint8Array, levels: number, width = 1, isStored = false): Buffer => {
  let content: Uint8Array = innermost
  for (let level = 0; level < levels; level++) {
    const inner = content
    content = zip(Array.from({ length: width }, (_, index) => ({ name: `${index}.zip`, content: inner, isStored })))
  }
  return Buffer.from(content)
}

/** All directory entries point to the same packed bytes (Fifield, "A better zip bomb", 2019). */
export const overlappingZip = (mebibytes: number, entries: number): Buffer => {
  const { checksum, packed: content } = deflatedZeros(mebibytes)
  const entry = { name: "kernel", method: 8, flags: 0, packed: content, checksum, sizeBytes: mebibytes << 20 }
  const local = Buffer.concat([header(0x04034b50, 30, 4, entry), Buffer.from(entry.name), content])
  const directory = Buffer.concat(Array.from({ length: entries }, () => directoryEntry(entry, 0)))
  return Buffer.concat([local, directory, endRecord(entries, directory.length, local.length)])
}

export const tar = (entries: ReadonlyArray<{ readonly name: string; readonly content: Uint8Array }>): Buffer => {
  const blocks = entries.flatMap(({ content, name }) => {
    const padding = Buffer.alloc((512 - (content.length % 512)) % 512)
    return [tarHeader(name, content.length), Buffer.from(content), padding]
  })
  return Buffer.concat([...blocks, Buffer.alloc(1024)])
}

const tarHeader = (name: string, sizeBytes: number): Buffer => {
  const block = Buffer.alloc(512)
  block.write(name, 0, 100)
  block.write("0000644\0", 100)
  block.write(`${sizeBytes.toString(8).padStart(11, "0")}\0`, 124)
  block.write("00000000000\0", 136)
  block.write("        0ustar\x0000", 148)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148)
  return block
}
