// The rules of the content policy scanner, one by one.
import { expect, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as ScannerEmbedded from "../src/ScannerEmbedded.ts"
import { contract, scan } from "./ScannerContract.ts"

contract("content policy", ScannerEmbedded.layer)

const zipHead = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), Buffer.alloc(26)])
const oleHead = Buffer.from([0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1])

layer(ScannerEmbedded.layer)("the content policy", (it) => {
  it.effect.each([
    ["a Windows program", "type_not_allowed", Buffer.from("MZ\x90\x00", "latin1")],
    ["an ELF program", "type_not_allowed", Buffer.from("\x7fELF\x02", "latin1")],
    ["a Mach-O program", "type_not_allowed", Buffer.from([0xcf, 0xfa, 0xed, 0xfe, 0, 0])],
    ["a script", "type_not_allowed", Buffer.from("#!/bin/sh\nrm -rf /\n")],
    ["an Office document with macros", "type_not_allowed", Buffer.concat([zipHead, Buffer.from("xl/vbaProject.bin")])],
    [
      "an old Office document with macros",
      "type_not_allowed",
      Buffer.concat([oleHead, Buffer.from("_VBA_PROJECT", "utf16le")])
    ],
    ["an encrypted PDF", "encrypted", Buffer.from("%PDF-1.7\ntrailer << /Encrypt 5 0 R >>")],
    ["an encrypted RAR 5", "encrypted", Buffer.from([0x52, 0x61, 0x72, 0x21, 0x1a, 0x07, 1, 0, 0, 0, 0, 0, 9, 4])],
    [
      "a 7z with an AES coder",
      "encrypted",
      Buffer.from([0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c, 0, 4, 0x06, 0xf1, 0x07, 0x01])
    ]
  ] as const)("refuses %s", ([, reason, bytes]) =>
    Effect.gen(function* () {
      expect(yield* scan(bytes)).toMatchObject({ _tag: "Bad", reason, tool: { name: "holdfast-policy" } })
    })
  )

  it.effect.each(["setup.exe", "invoice.pdf.js", "macro.vbs", "run.BAT"])("refuses the name %s", (name) =>
    Effect.gen(function* () {
      expect(yield* scan(Buffer.from("x"), { name })).toMatchObject({ reason: "type_not_allowed" })
    })
  )

  it.effect.each([
    ["report.pdf", "application/pdf", Buffer.from("%PDF-1.7\n1 0 obj")],
    ["photo.jpeg", "image/jpeg", Buffer.from([0xff, 0xd8, 0xff, 0xe0])],
    ["archive.zip", "application/zip", zipHead],
    ["letter about vbaProject.bin.txt", "text/plain", Buffer.from("the file vbaProject.bin and /Encrypt")]
  ] as const)("passes %s", ([name, mediaType, bytes]) =>
    Effect.gen(function* () {
      expect(yield* scan(bytes, { name, mediaType })).toMatchObject({ _tag: "Clean" })
    })
  )
})
