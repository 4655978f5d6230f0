// Small files that promise enormous pictures, and pictures that are something else as well.
import { crc32, deflateSync } from "node:zlib"
import { zip } from "./Archives.ts"
import { pdf } from "./Documents.ts"

/** One pixel. */
export const png = (): Buffer =>
  Buffer.from(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    "base64"
  )
export const gif = (): Buffer => Buffer.from("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7", "base64")
export const jpeg = (): Buffer =>
  Buffer.from(
    "/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////////////wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA=",
    "base64"
  )

const chunk = (type: string, data: Buffer): Buffer => {
  const body = Buffer.concat([Buffer.from(type), data])
  const whole = Buffer.alloc(body.length + 8)
  whole.writeUInt32BE(data.length, 0)
  whole.set(body, 4)
  whole.writeUInt32BE(crc32(body), body.length + 4)
  return whole
}

/** Grey, one bit a pixel, and really all there: 20 000 by 20 000 pixels in some 50 KiB. */
export const pngBomb = (side = 20_000): Buffer => {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(side, 0)
  header.writeUInt32BE(side, 4)
  header.set([1, 0, 0, 0, 0], 8)
  const rows = deflateSync(Buffer.alloc((Math.ceil(side / 8) + 1) * side), { level: 9 })
  return Buffer.concat([
    png().subarray(0, 8),
    chunk("IHDR", header),
    chunk("IDAT", rows),
    chunk("IEND", Buffer.alloc(0))
  ])
}

/** 65 535 by 65 535 pixels, in as many frames. */
export const gifBomb = (frames = 200): Buffer => {
  const screen = Buffer.from("474946383961ffffffff800000000000ffffff", "hex")
  const frame = Buffer.from("21f904010a0000002c00000000ffffffff0002024401 00".replace(" ", ""), "hex")
  return Buffer.concat([screen, ...Array.from({ length: frames }, () => frame), Buffer.from(";")])
}

/** 60 000 by 60 000 pixels, packed; little endian, one strip. */
export const tiffBomb = (side = 60_000): Buffer => {
  const strip = deflateSync(Buffer.alloc(1 << 20), { level: 9 })
  const tags: ReadonlyArray<readonly [tag: number, type: number, value: number]> = [
    [256, 4, side],
    [257, 4, side],
    [258, 3, 8],
    [259, 3, 8],
    [262, 3, 1],
    [273, 4, 8],
    [277, 3, 1],
    [278, 4, side],
    [279, 4, strip.length]
  ]
  const directory = Buffer.alloc(2 + tags.length * 12 + 4)
  directory.writeUInt16LE(tags.length, 0)
  tags.forEach(([tag, type, value], index) => {
    directory.writeUInt16LE(tag, 2 + index * 12)
    directory.writeUInt16LE(type, 4 + index * 12)
    directory.writeUInt32LE(1, 6 + index * 12)
    directory.writeUInt32LE(value, 10 + index * 12)
  })
  const start = Buffer.from("49492a0000000000", "hex")
  start.writeUInt32LE(8 + strip.length, 4)
  return Buffer.concat([start, strip, directory])
}

/** Enormous, and drawn a million times over. */
export const svgBomb = (): Buffer => {
  const levels = Array.from(
    { length: 6 },
    (_, level) => `<g id="g${level + 1}">${`<use href="#g${level}"/>`.repeat(10)}</g>`
  )
  return Buffer.from(
    `<svg xmlns="http://www.w3.org/2000/svg" width="1000000" height="1000000"><g id="g0"><rect width="1" height="1"/></g>${levels.join("")}</svg>`
  )
}

export const svgWithScript = (): Buffer =>
  Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')

/** A picture 10 799 pixels wide to one reader, a comment and a program to the other. */
export const gifWithScript = (): Buffer =>
  Buffer.concat([Buffer.from("GIF89a/*"), gif().subarray(8), Buffer.from("*/=1;alert(1)//")])

export const pngWithZip = (): Buffer => zip([{ name: "inside.txt", content: Buffer.from("hidden") }], png())
export const pdfWithZip = (): Buffer => zip([{ name: "inside.txt", content: Buffer.from("hidden") }], pdf())

export const jpegWithHtml = (): Buffer => {
  const html = Buffer.from("<html><script>alert(1)</script></html>")
  const length = Buffer.alloc(2)
  length.writeUInt16BE(html.length + 2, 0)
  const comment = Buffer.concat([Buffer.from([0xff, 0xfe]), length, html])
  return Buffer.concat([jpeg().subarray(0, 2), comment, jpeg().subarray(2)])
}
