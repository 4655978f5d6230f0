// What pictures say of their size, in the words of each format.
import { describe, expect, it } from "@effect/vitest"
import { gifBomb, jpeg, png, pngBomb, tiffBomb } from "@holdfast/testkit/hostile/Pictures"
import { pixelsOf } from "../src/PictureSize.ts"

const webp = (kind: string, rest: string) => Buffer.from(`RIFF....WEBP${kind}....${rest}`.padEnd(64, "\0"), "latin1")

describe("pixels", () => {
  it.each([
    ["a PNG", png(), 1],
    ["a PNG bomb", pngBomb(2000), 4_000_000],
    ["a GIF bomb", gifBomb(), 65_535 ** 2],
    ["a JPEG", jpeg(), 1],
    ["a TIFF bomb", tiffBomb(), 3_600_000_000],
    ["a large WebP", webp("VP8X", "\0\0\0\0\xff\x0f\0\xff\x0f\0"), 4096 ** 2],
    ["a lossy WebP", webp("VP8 ", "\0\0\0\x9d\x01\x2a\x10\0\x20\0"), 512],
    ["a lossless WebP", webp("VP8L", "\x2f\x0f\xc0\x07\0"), 16 * 32],
    ["a BMP, bottom up", Buffer.from(`BM${"\0".repeat(12)}\x28\0\0\0\x02\0\0\0\xfd\xff\xff\xff`, "latin1"), 6]
  ] as const)("%s", (_, head, expected) => {
    expect(pixelsOf(head)).toBe(expected)
  })

  it.each([
    ["text", Buffer.from("Dear desk")],
    ["a letter about a car", Buffer.from("BMW AG, Munich: a letter about a car")],
    ["a letter about pictures", Buffer.from("GIF8 is how some pictures begin")],
    ["half a header", png().subarray(0, 20)],
    ["a JPEG that ends before its frame", jpeg().subarray(0, 40)],
    ["a TIFF whose directory is further on", Buffer.from("II*\0\xff\xff\0\0", "latin1")],
    ["nothing", Buffer.alloc(0)]
  ] as const)("%s does not say", (_, head) => {
    expect(pixelsOf(head)).toBe(null)
  })
})
