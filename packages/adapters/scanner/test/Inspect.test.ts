// The rules of inspection one by one, in this process; and that nothing but a finding ever comes of damaged bytes.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { deflateSync, gzipSync } from "node:zlib"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import { nestedZip, tar, zip, zipOf, zipOfZeros } from "@holdfast/testkit/hostile/Archives"
import * as Documents from "@holdfast/testkit/hostile/Documents"
import { containerOf } from "../src/Containers.ts"
import { inspect } from "../src/inspection/Inspect.ts"
import { eicar } from "./ScannerContract.ts"

const limits = {
  expandedBytesMax: 4 << 20,
  ratioMax: 50,
  ratioFromBytes: 1 << 20,
  entriesMax: 100,
  depthMax: 4,
  documentBytesMax: 2 << 20,
  entityBytesMax: 10_000,
  pixelsMax: 1_000_000,
  headBytes: 65_536,
  tailBytes: 67_584
}

let folder = ""
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-inspect-"))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const finding = async (bytes: Uint8Array) => {
  const path = join(folder, "level-1")
  writeFileSync(path, bytes)
  const found = await inspect({ path, folder, limits })
  expect(readdirSync(folder)).toEqual(["level-1"])
  return found
}

const entry = (name: string, content: Uint8Array = Buffer.from("x")) => ({ name, content })
const mail = (...lines: ReadonlyArray<string>) => Buffer.from(lines.join("\r\n"))
const base64 = eicar.toString("base64")

/** ZIP64: the classic fields are full, and the true ones lie in the extra field. */
const zip64 = (content: Buffer): Buffer => {
  const plain = zip([{ name: "a", content, isStored: true }])
  const directoryAt = plain.indexOf(Buffer.from("504b0102", "hex"))
  const extra = Buffer.alloc(20)
  extra.writeUInt16LE(1, 0)
  extra.writeUInt16LE(16, 2)
  extra.writeBigUInt64LE(BigInt(content.length), 4)
  extra.writeBigUInt64LE(BigInt(content.length), 12)
  const directory = Buffer.concat([plain.subarray(directoryAt, directoryAt + 47), extra])
  directory.writeUInt32LE(0xffffffff, 20)
  directory.writeUInt32LE(0xffffffff, 24)
  directory.writeUInt16LE(extra.length, 30)
  const end = Buffer.from(plain.subarray(-22))
  end.writeUInt32LE(directory.length, 12)
  return Buffer.concat([plain.subarray(0, directoryAt), directory, end])
}

/** GNU's way to say a long name: an entry of type L whose content is the name of the next. */
const longName = (name: string): Buffer => {
  const first = tar([entry("././@LongLink", Buffer.from(name))]).subarray(0, 1024)
  first[156] = "L".charCodeAt(0)
  const sum = first.subarray(0, 512).reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 0x20 : byte), 0)
  first.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148)
  return Buffer.concat([first, tar([entry("short")])])
}

describe("inspection passes", () => {
  it.each([
    ["nothing", Buffer.alloc(0)],
    ["ZIP64", zip64(Buffer.from("harmless"))],
    ["an empty entry", zip([entry("a", Buffer.alloc(0))])],
    ["a folder in a tar", tar([entry("folder/", Buffer.alloc(0)), entry("folder/a")])],
    ["a long name", longName(`folder/${"a".repeat(150)}`)],
    ["several members of a gzip", Buffer.concat([gzipSync("a"), gzipSync("b")])],
    ["well packed content that stays small", zipOfZeros(1)],
    [
      "a PDF with a packed page",
      Documents.pdf("", [{ dictionary: "/Filter /FlateDecode", content: deflateSync("q Q") }])
    ],
    [
      "a PDF that speaks of JavaScript",
      Documents.pdf("", [{ dictionary: "", content: Buffer.from("(/JavaScript) Tj") }])
    ],
    ["short entities", Documents.harmlessEntities()]
  ] as const)("%s", async (_, bytes) => {
    expect(await finding(bytes)).toBe(null)
  })
})

describe("inspection finds", () => {
  it.each([
    ["EICAR behind ZIP64", zip64(eicar), "malware"],
    ["EICAR behind a long name", Buffer.concat([longName("a").subarray(0, 1024), tar([entry("a", eicar)])]), "malware"],
    ["EICAR in the second member", Buffer.concat([gzipSync("a"), gzipSync(eicar)]), "malware"],
    [
      "EICAR in a forwarded message",
      mail(
        "From: a@b",
        "MIME-Version: 1.0",
        "Content-Type: message/rfc822",
        "",
        "From: c@d",
        "Content-Transfer-Encoding: base64",
        "",
        base64
      ),
      "malware"
    ],
    [
      "EICAR under a folded boundary",
      mail(
        "From: a@b",
        "MIME-Version: 1.0",
        "Content-Type: multipart/mixed;",
        "\tboundary=x",
        "",
        "--x",
        "Content-Transfer-Encoding:\tBASE64",
        "",
        base64,
        "--x--"
      ),
      "malware"
    ],
    [
      "EICAR in quoted-printable",
      mail(
        "From: a@b",
        "To: c@d",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        eicar.toString().replaceAll("$", "=24").replace("EICAR", "EIC=\r\nAR")
      ),
      "malware"
    ],
    ["a macro in another case", zip([entry("word/VBAPROJECT.BIN")]), "type_not_allowed"],
    ["a PDF that launches", Documents.pdf("/OpenAction << /S /Launch >>"), "type_not_allowed"],
    [
      "a PDF whose structure is packed unusually",
      Documents.pdf("", [{ dictionary: "/Type /ObjStm /Filter /LZWDecode", content: Buffer.from("x") }]),
      "type_not_allowed"
    ],
    ["a public entity", Buffer.from('<!DOCTYPE a [<!ENTITY x PUBLIC "a" "b">]><a/>'), "type_not_allowed"],
    ["a name behind a long name", longName("../a"), "malformed"],
    ["half an archive", zip([entry("a", Buffer.alloc(999, 1))]).subarray(0, 40), "malformed"],
    [
      "a damaged entry",
      zipOf([{ name: "a", method: 8, flags: 0, packed: Buffer.from("no deflate"), checksum: 0, sizeBytes: 9 }]),
      "malformed"
    ]
  ] as const)("%s", async (_, bytes, reason) => {
    expect(await finding(bytes)).toMatchObject({ outcome: "bad", reason })
  })
})

describe("inspection leaves to the policy", () => {
  it.each([
    [
      "too many bytes",
      zip(Array.from({ length: 5 }, (_, index) => ({ ...entry(`${index}`, Buffer.alloc(1 << 20)), isStored: true }))),
      "limits_exceeded"
    ],
    ["too high a ratio", zipOfZeros(2), "limits_exceeded"],
    ["too many entries", zip(Array.from({ length: 101 }, (_, index) => entry(`${index}`))), "limits_exceeded"],
    ["too many levels", nestedZip(Buffer.from("x"), 5), "limits_exceeded"],
    [
      "an entity within itself",
      Buffer.from('<!DOCTYPE a [<!ENTITY x "&y;"><!ENTITY y "&x;">]><a>&x;</a>'),
      "limits_exceeded"
    ],
    [
      "parameter entities",
      Buffer.from(`<!DOCTYPE a [<!ENTITY % x "${"x".repeat(6000)}"> %x; %x;]><a/>`),
      "limits_exceeded"
    ],
    [
      "a PDF packed twice",
      Documents.pdf("", [{ dictionary: "/Filter [/FlateDecode /FlateDecode]", content: Buffer.from("x") }]),
      "limits_exceeded"
    ],
    ["an encrypted PDF", Documents.pdf("/Encrypt 5 0 R"), "encrypted"],
    [
      "an encrypted office document",
      Buffer.concat([Buffer.from("d0cf11e0a1b11ae1", "hex"), Buffer.from("EncryptedPackage", "utf16le")]),
      "encrypted"
    ]
  ] as const)("%s", async (_, bytes, reason) => {
    expect(await finding(bytes)).toMatchObject({ outcome: "opaque", reason })
  })
})

describe("damaged bytes", () => {
  const samples: ReadonlyArray<Buffer> = [
    zip([entry("a"), { name: "b", content: Buffer.from("bbbb"), isStored: true }]),
    zip64(Buffer.from("x")),
    nestedZip(Buffer.from("x"), 2),
    gzipSync(tar([entry("a"), entry("b")])),
    tar([entry("a", Buffer.alloc(600, 1)), entry("b")]),
    longName("a"),
    Documents.mail(zip([entry("a")]), "a.zip"),
    Documents.pdfWithAttachment(zip([entry("a")])),
    Documents.entityBomb()
  ]

  it("lead to a finding or none, never to an error", async () => {
    const random = randomOf(20_260_105)
    for (let round = 0; round < 1500; round++) {
      const sample = Buffer.from(samples[round % samples.length] ?? [])
      const changes = 1 + Math.floor(random() * 6)
      for (let change = 0; change < changes; change++) sample[Math.floor(random() * sample.length)] = random() * 256
      const cut = random() < 0.2 ? sample.subarray(0, random() * sample.length) : sample
      const found = await finding(cut)
      expect([null, "bad", "opaque"]).toContain(found === null ? null : found.outcome)
    }
  }, 180_000)

  it("are told apart by their ends without an error, whatever they are", () => {
    const random = randomOf(7)
    for (let round = 0; round < 3000; round++) {
      const bytes = Buffer.from(Array.from({ length: random() * 700 }, () => random() * 256))
      expect(() => containerOf(bytes, bytes)).not.toThrow()
    }
  })
})

/** Mulberry32: the same numbers every time. */
const randomOf = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
