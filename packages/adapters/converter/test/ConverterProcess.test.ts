// What conversion promises: upright copies without metadata, the same for the same bytes, and bounds that a hostile image meets.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { crc32, deflateSync } from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { Health } from "@holdfast/resilience/Health"
import { docx, pdf } from "@holdfast/testkit/hostile/Documents"
import { Duration, Effect, Layer } from "effect"
import sharp from "sharp"
import { Converter } from "../src/Converter.ts"
import * as ConverterProcess from "../src/ConverterProcess.ts"

const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-converter-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const convert = (bytes: Uint8Array, mediaType: string, options: ConverterProcess.ConverterOptions = {}) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder
    const path = join(folder, "image")
    yield* Effect.promise(() => writeFile(path, bytes))
    const layer = ConverterProcess.layer({ folder, ...options }).pipe(Layer.provide(Health.layer))
    const conversion = yield* Converter.use((converter) => converter.convert(path, mediaType)).pipe(
      Effect.provide(layer)
    )
    expect(yield* Effect.promise(() => readdir(folder))).toEqual(["image"])
    return conversion
  })

const photo = () => sharp({ create: { width: 600, height: 400, channels: 3, background: "teal" } })
const picture = (format: "png" | "jpeg" | "webp" | "gif") =>
  Effect.promise(() =>
    photo()
      .withExif({ IFD0: { Copyright: "a secret place" } })
      .toFormat(format)
      .toBuffer()
  )

const outputsOf = (conversion: Effect.Success<ReturnType<typeof convert>>) => {
  expect(conversion._tag).toBe("Converted")
  return conversion._tag === "Converted" ? conversion.outputs : []
}

const page = (background: string, side: number) =>
  sharp({ create: { width: side, height: side, channels: 3, background } })
    .png()
    .toBuffer()

const office = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

const child = (name: string) => fileURLToPath(new URL(`./children/${name}.ts`, import.meta.url))

describe("ConverterProcess", () => {
  it.live.each(["png", "jpeg", "webp", "gif"] as const)("makes a clean copy and a thumbnail of a %s", (format) =>
    Effect.gen(function* () {
      const [original, thumbnail, ...rest] = outputsOf(yield* convert(yield* picture(format), `image/${format}`))
      expect(rest).toEqual([])
      expect(original).toMatchObject({ kind: "original", mediaType: `image/${format}` })
      const copy = yield* Effect.promise(() => sharp(original?.bytes).metadata())
      expect(copy).toMatchObject({ format, width: 600, height: 400 })
      expect(copy.exif).toBeUndefined()
      const small = yield* Effect.promise(() => sharp(thumbnail?.bytes).metadata())
      expect(small).toMatchObject({ format: "webp", width: 256, height: 171 })
    }).pipe(Effect.scoped)
  )

  it.live("turns a photograph upright before its orientation is dropped", () =>
    Effect.gen(function* () {
      const turned = yield* Effect.promise(() => photo().jpeg().withMetadata({ orientation: 6 }).toBuffer())
      const [original, thumbnail] = outputsOf(yield* convert(turned, "image/jpeg"))
      const copy = yield* Effect.promise(() => sharp(original?.bytes).metadata())
      expect([copy.width, copy.height, copy.orientation]).toEqual([400, 600, undefined])
      expect(yield* Effect.promise(() => sharp(thumbnail?.bytes).metadata())).toMatchObject({ width: 171, height: 256 })
    }).pipe(Effect.scoped)
  )

  it.live("keeps every frame of an animation", () =>
    Effect.gen(function* () {
      const frame = (background: string) =>
        sharp({ create: { width: 8, height: 8, channels: 3, background } })
          .png()
          .toBuffer()
      const frames = yield* Effect.promise(() => Promise.all(["red", "green", "blue"].map(frame)))
      const animation = yield* Effect.promise(() =>
        sharp(frames, { join: { animated: true } })
          .gif()
          .toBuffer()
      )
      const [original] = outputsOf(yield* convert(animation, "image/gif"))
      expect(yield* Effect.promise(() => sharp(original?.bytes).metadata())).toMatchObject({ pages: 3 })
    }).pipe(Effect.scoped)
  )

  it.live("takes a path from where the process is", () =>
    Effect.gen(function* () {
      const folder = relative(process.cwd(), yield* temporaryFolder)
      yield* Effect.promise(async () => writeFile(join(folder, "image"), await page("red", 8)))
      const layer = ConverterProcess.layer({ folder }).pipe(Layer.provide(Health.layer))
      const conversion = yield* Converter.use((converter) =>
        converter.convert(join(folder, "image"), "image/png")
      ).pipe(Effect.provide(layer))
      expect(outputsOf(conversion)).toHaveLength(2)
    }).pipe(Effect.scoped)
  )

  it.live("makes the same of the same bytes", () =>
    Effect.gen(function* () {
      const bytes = yield* picture("jpeg")
      expect(yield* convert(bytes, "image/jpeg")).toEqual(yield* convert(bytes, "image/jpeg"))
    }).pipe(Effect.scoped)
  )

  it.live("makes nothing of other types, and says so", () =>
    Effect.gen(function* () {
      const conversion = yield* convert(Buffer.from("RIFF"), "audio/wav")
      expect(conversion).toMatchObject({ outputs: [], tool: { name: "none" }, detail: "nothing is made of audio/wav" })
    }).pipe(Effect.scoped)
  )

  it.live("makes a clean copy of every page of a TIFF", () =>
    Effect.gen(function* () {
      const pages = yield* Effect.promise(() => Promise.all(["red", "green"].map((color) => page(color, 20))))
      const fax = yield* Effect.promise(() =>
        sharp(pages, { join: { animated: true } })
          .withExif({ IFD0: { Copyright: "a secret place" } })
          .tiff()
          .toBuffer()
      )
      const [original, thumbnail] = outputsOf(yield* convert(fax, "image/tiff"))
      const copy = yield* Effect.promise(() => sharp(original?.bytes).metadata())
      expect([copy.format, copy.pages, copy.exif]).toEqual(["tiff", 2, undefined])
      expect(thumbnail).toMatchObject({ kind: "thumbnail", mediaType: "image/webp" })
    }).pipe(Effect.scoped)
  )

  it.live("draws the first page of a PDF, the same each time", () =>
    Effect.gen(function* () {
      const [preview, thumbnail, ...rest] = outputsOf(yield* convert(pdf(), "application/pdf"))
      expect(rest).toEqual([])
      expect([preview?.kind, thumbnail?.kind]).toEqual(["preview", "thumbnail"])
      expect(yield* Effect.promise(() => sharp(preview?.bytes).metadata())).toMatchObject({
        format: "webp",
        width: 1024
      })
      expect(outputsOf(yield* convert(pdf(), "application/pdf"))).toEqual([preview, thumbnail])
    }).pipe(Effect.scoped)
  )

  it.live("draws an office document through the office program", () =>
    Effect.gen(function* () {
      const soffice = fileURLToPath(new URL("./children/Office.sh", import.meta.url))
      const conversion = yield* convert(docx(), office, { programs: { soffice } })
      expect(conversion.tool.version).toContain("soffice")
      expect(outputsOf(conversion).map(({ kind }) => kind)).toEqual(["preview", "thumbnail"])
    }).pipe(Effect.scoped)
  )

  it.live.each([
    [
      "a PDF without its program",
      pdf(),
      "application/pdf",
      { pdftoppm: null },
      "pdftoppm (poppler-utils) is not installed"
    ],
    [
      "an office document without its program",
      docx(),
      office,
      { soffice: null },
      "soffice (LibreOffice) is not installed"
    ],
    ["an office document that its program fails on", docx(), office, { soffice: "/bin/false" }, "made nothing of it"],
    ["a PDF that cannot be drawn", Buffer.from("%PDF-1.7\n"), "application/pdf", {}, "cannot be drawn"]
  ] as const)("releases %s without a preview, and says so", ([, bytes, mediaType, programs, detail]) =>
    Effect.gen(function* () {
      const conversion = yield* convert(bytes, mediaType, { programs })
      expect(conversion).toMatchObject({ _tag: "Converted", outputs: [], detail: expect.stringContaining(detail) })
      expect(conversion.tool.name).toMatch(/^none/)
    }).pipe(Effect.scoped)
  )

  it.live.each([
    ["text", Buffer.from("this is no image")],
    ["nothing", Buffer.alloc(0)],
    [
      "an SVG that names another file",
      Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>')
    ]
  ] as const)("rejects %s that claims to be a PNG", ([, bytes]) =>
    Effect.gen(function* () {
      expect(yield* convert(bytes, "image/png")).toMatchObject({ _tag: "Bad", reason: "malformed" })
    }).pipe(Effect.scoped)
  )

  it.live("rejects half an image", () =>
    Effect.gen(function* () {
      const bytes = yield* picture("jpeg")
      const half = bytes.subarray(0, bytes.length / 2)
      expect(yield* convert(half, "image/jpeg")).toMatchObject({ _tag: "Bad", reason: "malformed" })
    }).pipe(Effect.scoped)
  )

  it.live("rejects a pixel bomb without decoding it", () =>
    Effect.gen(function* () {
      expect(yield* convert(pixelBomb(60_000, 60_000), "image/png")).toMatchObject({
        _tag: "Bad",
        reason: "limits_exceeded"
      })
    }).pipe(Effect.scoped)
  )

  it.live("ends a decoder that never ends, with everything it started", () =>
    Effect.gen(function* () {
      const options = { child: child("Endless"), deadline: Duration.seconds(1) }
      const error = yield* Effect.flip(convert(Buffer.from("x"), "image/png", options))
      expect(error).toMatchObject({ _tag: "Unavailable", dependency: "converter", reason: "timeout" })
    }).pipe(Effect.scoped)
  )

  it.live.each(["Hungry", "Talkative"])(
    "ends a %s decoder at its limits",
    (name) =>
      Effect.gen(function* () {
        const outcome = yield* convert(Buffer.from("x"), "image/png", { child: child(name) })
        expect(outcome).toMatchObject({ _tag: "Bad", reason: "limits_exceeded" })
      }).pipe(Effect.scoped),
    180_000
  )

  it.live("does not blame the image when the converter cannot run", () =>
    Effect.gen(function* () {
      const failed = yield* Effect.flip(convert(Buffer.from("x"), "image/png", { child: child("Broken") }))
      expect(failed).toMatchObject({ _tag: "Unavailable", dependency: "converter" })
    }).pipe(Effect.scoped)
  )
})

/** A small file that promises an enormous picture. */
const pixelBomb = (width: number, height: number): Uint8Array => {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 2, 0, 0, 0], 8)
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.alloc(1000))),
    chunk("IEND", Buffer.alloc(0))
  ])
}

const chunk = (type: string, data: Buffer): Buffer => {
  const body = Buffer.concat([Buffer.from(type), data])
  const whole = Buffer.alloc(body.length + 8)
  whole.writeUInt32BE(data.length, 0)
  whole.set(body, 4)
  whole.writeUInt32BE(crc32(body), body.length + 4)
  return whole
}
