// How many pixels a picture claims to have, from its first bytes. Scanners decode pictures, too: what nobody here would decode is refused
// before anybody tries.

/** Pixels of one frame; null for what is no picture, or does not say so early. */
export const pixelsOf = (head: Buffer): number | null => {
  for (const format of formats) {
    if (head.length < format.bytesMin || !format.isIt(head)) continue
    const size = format.sizeOf(head)
    return size === null ? null : Math.abs(size[0]) * Math.abs(size[1])
  }
  return null
}

type Size = readonly [width: number, height: number]

interface Format {
  readonly bytesMin: number
  readonly isIt: (head: Buffer) => boolean
  readonly sizeOf: (head: Buffer) => Size | null
}

const startsWith = (text: string) => {
  const bytes = Buffer.from(text, "latin1")
  return (head: Buffer) => head.subarray(0, bytes.length).equals(bytes)
}

const riffKind = (head: Buffer) => head.toString("latin1", 8, 16)

const webp = (kind: string, sizeOf: (head: Buffer) => Size): Format => ({
  bytesMin: 30,
  isIt: (head) => startsWith("RIFF")(head) && riffKind(head) === `WEBP${kind}`,
  sizeOf
})

const startOfFrame = new Set([0xc0, 0xc1, 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf])

/** Segment by segment up to the one that states the size. */
const jpegSize = (head: Buffer): Size | null => {
  for (let at = 2; at + 9 <= head.length && head[at] === 0xff; ) {
    const marker = head[at + 1] ?? 0
    if (marker === 0xff) at += 1
    else if (startOfFrame.has(marker)) return [head.readUInt16BE(at + 7), head.readUInt16BE(at + 5)]
    else at += 2 + head.readUInt16BE(at + 2)
  }
  return null
}

/** The first directory, when it lies within the first bytes; width and height are tags 256 and 257. */
const tiffSize = (head: Buffer): Size | null => {
  const isLittle = head[0] === 0x49
  const short = (at: number) => (isLittle ? head.readUInt16LE(at) : head.readUInt16BE(at))
  const long = (at: number) => (isLittle ? head.readUInt32LE(at) : head.readUInt32BE(at))
  const directoryAt = long(4)
  if (directoryAt + 2 > head.length) return null
  const values = new Map<number, number>()
  for (let index = 0; index < short(directoryAt); index++) {
    const at = directoryAt + 2 + index * 12
    if (at + 12 > head.length) break
    values.set(short(at), short(at + 2) === 3 ? short(at + 8) : long(at + 8))
  }
  const width = values.get(256)
  const height = values.get(257)
  return width === undefined || height === undefined ? null : [width, height]
}

/** Two letters are no proof: nothing is reserved for four bytes, and the header has one of the sizes that there are. */
const isBmp = (head: Buffer): boolean =>
  startsWith("BM")(head) &&
  head.readUInt32LE(6) === 0 &&
  [12, 16, 40, 52, 56, 64, 108, 124].includes(head.readUInt32LE(14))

const formats: ReadonlyArray<Format> = [
  {
    bytesMin: 24,
    isIt: startsWith("\x89PNG\r\n\x1a\n"),
    sizeOf: (head) => [head.readUInt32BE(16), head.readUInt32BE(20)]
  },
  {
    bytesMin: 10,
    isIt: (head) => /^GIF8[79]a$/.test(head.toString("latin1", 0, 6)),
    sizeOf: (head) => [head.readUInt16LE(6), head.readUInt16LE(8)]
  },
  { bytesMin: 4, isIt: startsWith("\xff\xd8\xff"), sizeOf: jpegSize },
  { bytesMin: 8, isIt: startsWith("II*\0"), sizeOf: tiffSize },
  { bytesMin: 8, isIt: startsWith("MM\0*"), sizeOf: tiffSize },
  { bytesMin: 26, isIt: isBmp, sizeOf: (head) => [head.readInt32LE(18), head.readInt32LE(22)] },
  webp("VP8X", (head) => [1 + head.readUIntLE(24, 3), 1 + head.readUIntLE(27, 3)]),
  webp("VP8 ", (head) => [head.readUInt16LE(26) & 0x3fff, head.readUInt16LE(28) & 0x3fff]),
  webp("VP8L", (head) => {
    const bits = head.readUInt32LE(21)
    return [1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff)]
  })
]
