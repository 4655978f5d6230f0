// What has something inside, and what only looks a little like it.
import { gzipSync } from "node:zlib"
import { describe, expect, it } from "@effect/vitest"
import { tar, zip } from "@holdfast/testkit/hostile/Archives"
import { entityBomb, harmlessEntities, mail, pdf } from "@holdfast/testkit/hostile/Documents"
import { gif, jpeg, png } from "@holdfast/testkit/hostile/Pictures"
import { containerOf } from "../src/Containers.ts"

const text = (content: string) => Buffer.from(content, "latin1")
const archive = zip([{ name: "a", content: Buffer.from("a") }])

describe("what has something inside", () => {
  it.each([
    ["a ZIP", archive, "zip"],
    ["a ZIP behind a picture", Buffer.concat([png(), archive]), "zip"],
    ["a ZIP with something behind it", Buffer.concat([archive, Buffer.alloc(100, 1)]), "zip"],
    ["a gzip", gzipSync("a"), "gzip"],
    ["a tar", tar([{ name: "a", content: Buffer.from("a") }]), "tar"],
    ["a PDF", pdf(), "pdf"],
    ["an e-mail", mail(Buffer.from("a"), "a"), "mail"],
    ["XML with entities", entityBomb(), "xml"],
    ["an SVG with entities", harmlessEntities(), "xml"],
    ["a 7z", Buffer.from("377abcaf271c0004", "hex"), "opaque"],
    ["a LHA", text("\x20\x00-lh5-"), "opaque"],
    ["a cpio", text(`070701${"0".repeat(104)}`), "opaque"],
    ["a lzip", text("LZIP\x01"), "opaque"]
  ] as const)("%s", (_, bytes, kind) => {
    expect(containerOf(bytes, bytes)).toBe(kind)
  })
})

describe("what has nothing inside", () => {
  it.each([
    ["nothing", Buffer.alloc(0)],
    ["pictures", Buffer.concat([gif(), jpeg()])],
    ["a letter", text("Dear desk,\r\n\r\nfrom: me\r\n")],
    ["a letter about listings", text("$ -lh shows sizes")],
    ["a list of telephone numbers", text("0707012345;Carol\n0707054321;Ada\n")],
    ["a letter about a program", text("LZIP is a program")],
    ["a letter that quotes an archive's end", text("PK\x05\x06 is how an archive ends, said somebody")],
    ["XML without entities", text('<?xml version="1.0"?><a/>')],
    ["NULs", Buffer.alloc(2048)]
  ] as const)("%s", (_, bytes) => {
    expect(containerOf(bytes, bytes)).toBe(null)
  })
})
