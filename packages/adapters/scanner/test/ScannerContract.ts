// What every scanner promises.
import { expect, layer } from "@effect/vitest"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Effect, type Layer, Stream } from "effect"
import { Scanner } from "../src/Scanner.ts"

// Kept reversed so that no scanner takes this file for the test string.
export const eicar = Buffer.from(
  [..."*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X"].reverse().join("")
)

export const scan = (
  content: Uint8Array | ReadonlyArray<Uint8Array>,
  named: { name?: string; mediaType?: string } = {}
) => {
  const chunks = content instanceof Uint8Array ? [content] : content
  return Scanner.use((scanner) =>
    scanner.scan({
      content: Stream.fromIterable(chunks),
      sizeBytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0),
      name: named.name ?? "attachment",
      mediaType: named.mediaType ?? "application/octet-stream"
    })
  )
}

export const contract = (name: string, scanners: Layer.Layer<Scanner, unknown>) =>
  layer(scanners, { excludeTestServices: true })(`a scanner: ${name}`, (it) => {
    it.effect("passes what is harmless and names itself", () =>
      Effect.gen(function* () {
        const tool = yield* Scanner.use((scanner) => scanner.tool)
        expect(tool.name).not.toBe("")
        expect(yield* scan(Buffer.from("Dear Sir or Madam"))).toEqual({ _tag: "Clean", tool })
      })
    )

    it.effect("passes nothing at all", () =>
      Effect.gen(function* () {
        expect(yield* scan([])).toMatchObject({ _tag: "Clean" })
      })
    )

    it.effect("finds the test string", () =>
      Effect.gen(function* () {
        expect(yield* scan(eicar)).toMatchObject({ _tag: "Bad", reason: "malware" })
      })
    )

    it.effect("finds the test string across chunks and deep inside", () =>
      Effect.gen(function* () {
        const padding = Buffer.alloc(300_000, "a")
        const chunks = [padding, eicar.subarray(0, 20), eicar.subarray(20), padding]
        expect(yield* scan(chunks)).toMatchObject({ _tag: "Bad", reason: "malware" })
      })
    )

    it.effect("finds an encrypted archive", () =>
      Effect.gen(function* () {
        expect(yield* scan(encryptedZip)).toMatchObject({ _tag: "Bad", reason: "encrypted" })
      })
    )

    it.effect("gives the same verdict for the same bytes", () =>
      Effect.gen(function* () {
        expect(yield* scan(eicar)).toEqual(yield* scan(eicar))
      })
    )

    it.effect("does not judge content that it could not read to the end", () =>
      Effect.gen(function* () {
        const scanner = yield* Scanner
        const lost = new Unavailable({ dependency: "storage", reason: "timeout", retryAfterMs: 1, detail: "lost" })
        const content = Stream.concat(Stream.make(Buffer.from("half")), Stream.fail(lost))
        const request = { content, sizeBytes: 8, name: "x", mediaType: "text/plain" }
        expect(yield* Effect.flip(scanner.scan(request))).toEqual(lost)
      })
    )
  })

const name = Buffer.from("secret.txt")
const body = Buffer.alloc(24, 7)
const header = (signature: number, length: number, at: number) => {
  const bytes = Buffer.alloc(length)
  bytes.writeUInt32LE(signature, 0)
  bytes.writeUInt16LE(20, at)
  bytes.writeUInt16LE(1, at + 2)
  bytes.writeUInt32LE(0x12345678, at + 10)
  bytes.writeUInt32LE(body.length, at + 14)
  bytes.writeUInt32LE(body.length - 12, at + 18)
  bytes.writeUInt16LE(name.length, at + 22)
  return bytes
}
const local = Buffer.concat([header(0x04034b50, 30, 4), name, body])
const central = Buffer.concat([header(0x02014b50, 46, 6), name])
const end = Buffer.alloc(22)
end.writeUInt32LE(0x06054b50, 0)
end.writeUInt16LE(1, 8)
end.writeUInt16LE(1, 10)
end.writeUInt32LE(central.length, 12)
end.writeUInt32LE(local.length, 16)

/** One stored entry, marked as encrypted. */
export const encryptedZip = Buffer.concat([local, central, end])
