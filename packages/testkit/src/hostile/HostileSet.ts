// The hostile set: for each file the end that the pipeline must reach, and why. Everything is made here, in memory and in moments; nothing
// is live malware. `refused` means that it never gets as far as the pipeline.
import { gzipSync } from "node:zlib"
import { gzipOfZeros, nestedZip, overlappingZip, tar, zip, zipOfZeros } from "./Archives.ts"
import * as Documents from "./Documents.ts"
import * as Pictures from "./Pictures.ts"

type Reason = "malware" | "type_mismatch" | "type_not_allowed" | "encrypted" | "limits_exceeded" | "malformed" | "empty"

export type End =
  | { readonly state: "released" }
  | { readonly state: "rejected"; readonly stage: "identify" | "scan" | "convert"; readonly reason: Reason }

export interface Hostile {
  readonly what: string
  readonly name: string
  readonly declaredType: string
  readonly make: () => Buffer
  readonly end: End
  readonly why: string
}

// Kept reversed so that no scanner takes this file for the test string.
export const eicar: Buffer = Buffer.from(
  [..."*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X"].reverse().join("")
)

const unknown = "application/octet-stream"
const released: End = { state: "released" }
const at =
  (stage: "identify" | "scan" | "convert") =>
  (reason: Reason): End => ({ state: "rejected", stage, reason })
const atIdentify = at("identify")
const atScan = at("scan")
const atConvert = at("convert")

const one = (what: string, name: string, declaredType: string, make: () => Buffer, end: End, why: string): Hostile => ({
  what,
  name,
  declaredType,
  make,
  end,
  why
})

const inZip = (content: Uint8Array): Buffer => zip([{ name: "readme.txt", content }])
const malware = atScan("malware")
const found = "the test string counts as malware in whatever it is wrapped"

const wrappings: ReadonlyArray<Hostile> = [
  one("EICAR", "readme.txt", "text/plain", () => eicar, malware, found),
  one("EICAR in a ZIP", "a.zip", unknown, () => inZip(eicar), malware, found),
  one("EICAR in a ZIP in a ZIP", "a.zip", unknown, () => inZip(inZip(eicar)), malware, found),
  one("EICAR in a gzip", "a.gz", unknown, () => gzipSync(eicar), malware, found),
  one("EICAR in a tar", "a.tar", unknown, () => tar([{ name: "readme.txt", content: eicar }]), malware, found),
  one(
    "EICAR in a tar in a gzip",
    "a.tgz",
    unknown,
    () => gzipSync(tar([{ name: "a", content: eicar }])),
    malware,
    found
  ),
  one("EICAR in an e-mail", "a.eml", "message/rfc822", () => Documents.mail(eicar, "a.txt"), malware, found),
  one("EICAR in a ZIP in an e-mail", "a.eml", unknown, () => Documents.mail(inZip(eicar), "a.zip"), malware, found),
  one("EICAR in a docx", "a.docx", unknown, () => Documents.docx({ "word/media/image1.bin": eicar }), malware, found),
  one("EICAR attached to a PDF", "a.pdf", unknown, () => Documents.pdfWithAttachment(inZip(eicar)), malware, found)
]

const limits = atScan("limits_exceeded")
const dense = "beyond the ratio that honest content reaches"

const bombs: ReadonlyArray<Hostile> = [
  one("zip of zips, harmless", "a.zip", unknown, () => nestedZip(Buffer.from("hi"), 3), released, "within the budget"),
  one("40 archives inside each other", "a.zip", unknown, () => nestedZip(Buffer.from("hi"), 40), limits, "too deep"),
  one(
    "42-style bomb",
    "42.zip",
    unknown,
    () => nestedZip(zipOfZeros(16), 5, 16),
    limits,
    "16 TiB: stopped at the ratio"
  ),
  one(
    "64 identical nested ZIPs of 64 MiB",
    "a.zip",
    unknown,
    sixtyFour,
    limits,
    "4 GiB: a scanner passes it, the budget does not"
  ),
  one(
    "overlapping entries",
    "a.zip",
    unknown,
    () => overlappingZip(8, 500),
    limits,
    "4 GiB from 8 KiB, without nesting"
  ),
  one("30 000 entries", "a.zip", unknown, manyEntries, limits, "more than anybody would look through"),
  one("gzip of 1 GiB", "a.gz", unknown, () => gzipOfZeros(1024), limits, dense),
  one("gzip of 1 GiB in an e-mail", "a.eml", unknown, () => Documents.mail(gzipOfZeros(1024), "a.gz"), limits, dense),
  one("PDF bomb", "a.pdf", unknown, Documents.pdfBomb, limits, "one stream expands beyond what is held in memory"),
  one(
    "PNG bomb",
    "a.png",
    "image/png",
    () => Pictures.pngBomb(),
    atIdentify("limits_exceeded"),
    "400 megapixels in 50 KiB: scanners decode pictures, too"
  ),
  one("PNG bomb in a ZIP", "a.zip", unknown, () => inZip(Pictures.pngBomb()), limits, "wherever it is"),
  one(
    "half a PNG",
    "a.png",
    "image/png",
    () => Pictures.png().subarray(0, 50),
    atConvert("malformed"),
    "cannot be decoded"
  ),
  one(
    "GIF bomb",
    "a.gif",
    "image/gif",
    () => Pictures.gifBomb(),
    atIdentify("limits_exceeded"),
    "4 gigapixels a frame"
  ),
  one("TIFF bomb", "a.tif", "image/tiff", () => Pictures.tiffBomb(), atIdentify("limits_exceeded"), "3.6 gigapixels"),
  one(
    "SVG bomb",
    "a.svg",
    "image/svg+xml",
    Pictures.svgBomb,
    released,
    "never drawn here, and only ever given as an attachment"
  ),
  one("XML entity bomb", "a.xml", "application/xml", () => Documents.entityBomb(), limits, "3 GB once expanded"),
  one("XML entity bomb in UTF-16", "a.xml", "application/xml", utf16Bomb, limits, "the same in another encoding"),
  one("SVG entity bomb", "a.svg", "image/svg+xml", () => Documents.entityBomb("svg"), limits, "the same in a picture"),
  one("quadratic entity bomb", "a.xml", "text/xml", Documents.quadraticBomb, limits, "2.5 GB without nesting"),
  one("XML entity bomb in a docx", "a.docx", unknown, docxBomb, limits, "office programs parse what is inside"),
  one(
    "XML with an external entity",
    "a.xml",
    "text/xml",
    Documents.externalEntity,
    atScan("type_not_allowed"),
    "reaches for files"
  ),
  one(
    "SVG with harmless entities",
    "a.svg",
    "image/svg+xml",
    Documents.harmlessEntities,
    released,
    "drawing programs write them"
  )
]

function sixtyFour(): Buffer {
  const inner = zipOfZeros(64)
  return zip(Array.from({ length: 64 }, (_, index) => ({ name: `${index}.zip`, content: inner, isStored: true })))
}
function manyEntries(): Buffer {
  return zip(
    Array.from({ length: 30_000 }, (_, index) => ({ name: `${index}`, content: Buffer.alloc(0), isStored: true }))
  )
}
function utf16Bomb(): Buffer {
  return Buffer.from(`\ufeff${Documents.entityBomb().toString().replace("UTF-8", "UTF-16")}`, "utf16le")
}
function docxBomb(): Buffer {
  return Documents.docx({ "word/settings.xml": Documents.entityBomb() })
}

const notAllowed = atScan("type_not_allowed")
const hidden = "a PDF may not carry programs or commands"

const active: ReadonlyArray<Hostile> = [
  one("PDF with JavaScript", "a.pdf", "application/pdf", Documents.pdfWithScript, notAllowed, hidden),
  one("PDF with hidden JavaScript", "a.pdf", unknown, Documents.pdfWithHiddenScript, notAllowed, hidden),
  one("PDF without", "a.pdf", "application/pdf", () => Documents.pdf(), released, "nothing wrong with it"),
  one("docm", "a.docm", unknown, Documents.docm, notAllowed, "documents may not carry macros"),
  one("xlsm", "a.xlsm", unknown, Documents.xlsm, notAllowed, "documents may not carry macros"),
  one("docm called docx", "a.docx", unknown, Documents.docm, notAllowed, "whatever they are called"),
  one("docm in a ZIP", "a.zip", unknown, () => inZip(Documents.docm()), notAllowed, "wherever they are"),
  one(
    "SVG with a script",
    "a.svg",
    "image/svg+xml",
    Pictures.svgWithScript,
    released,
    "only ever given as an attachment"
  )
]

const mismatch = atIdentify("type_mismatch")
const twofold = "two kinds of file at once is a disguise"

const disguises: ReadonlyArray<Hostile> = [
  one("GIF that is a program", "a.gif", "image/gif", Pictures.gifWithScript, mismatch, twofold),
  one("PDF that is a ZIP", "a.pdf", "application/pdf", Pictures.pdfWithZip, mismatch, twofold),
  one("PNG that is a ZIP", "a.png", "image/png", Pictures.pngWithZip, mismatch, twofold),
  one("JPEG that is HTML", "a.jpg", "image/jpeg", Pictures.jpegWithHtml, mismatch, twofold),
  one("PDF called PNG", "a.png", "image/png", () => Documents.pdf(), mismatch, "declared one thing, is another"),
  one("PDF called PNG, undeclared", "a.png", unknown, () => Documents.pdf(), mismatch, "named one thing, is another"),
  one("program called PDF", "a.pdf", "application/pdf", windowsProgram, mismatch, "declared one thing, is another"),
  one(
    "HTML called CSV",
    "a.csv",
    "text/csv",
    () => Buffer.from("<html><script>x</script>"),
    mismatch,
    "spreadsheets would open it"
  ),
  one(
    "text called JSON",
    "a.json",
    "application/json",
    () => Buffer.from("Dear desk"),
    mismatch,
    "declared one thing, is another"
  ),
  one(
    "zero bytes",
    "a.txt",
    "text/plain",
    () => Buffer.alloc(0),
    atIdentify("empty"),
    "there is nothing to give to anybody"
  )
]

function windowsProgram(): Buffer {
  return Buffer.concat([Buffer.from("MZ"), Buffer.alloc(62), Buffer.from("PE\0\0")])
}

const shut = "what nobody can look into is refused unless the desk holds it"
const encryptedZip = () => zip([{ name: "a.txt", content: Buffer.from("a secret of some length"), isEncrypted: true }])

const closed: ReadonlyArray<Hostile> = [
  one("encrypted ZIP", "a.zip", unknown, encryptedZip, atScan("encrypted"), shut),
  one("encrypted ZIP in a ZIP", "a.zip", unknown, () => inZip(encryptedZip()), atScan("encrypted"), shut),
  one("7z", "a.7z", unknown, () => sealed("377abcaf271c0004"), notAllowed, shut),
  one("RAR", "a.rar", unknown, () => sealed("526172211a0700cf90730000"), notAllowed, shut),
  one("7z in a ZIP", "a.zip", unknown, () => inZip(sealed("377abcaf271c0004")), notAllowed, shut),
  one(
    "ZIP with an entry beside its directory",
    "a.zip",
    unknown,
    hiddenEntry,
    atScan("malformed"),
    "others may see it"
  ),
  one(
    "truncated ZIP",
    "a.zip",
    unknown,
    () => inZip(Buffer.alloc(5000, 7)).subarray(0, 60),
    atScan("malformed"),
    "others may read it differently"
  )
]

function sealed(signature: string): Buffer {
  return Buffer.concat([Buffer.from(signature, "hex"), Buffer.alloc(120)])
}

function hiddenEntry(): Buffer {
  const inner = zip([{ name: "hidden.txt", content: Buffer.from("hidden") }])
  return zip([{ name: "seen.txt", content: Buffer.from("seen") }], inner.subarray(0, 50))
}

const slip = atScan("malformed")
const named = (name: string) => () => zip([{ name, content: Buffer.from("x") }])

const names: ReadonlyArray<Hostile> = [
  one(
    "ZIP whose entry leaves its folder",
    "a.zip",
    unknown,
    named("../../.ssh/key"),
    slip,
    "unpacking it would write anywhere"
  ),
  one("ZIP with an absolute name", "a.zip", unknown, named("/etc/passwd"), slip, "unpacking it would write anywhere"),
  one("ZIP with a drive's name", "a.zip", unknown, named("C:\\boot.ini"), slip, "unpacking it would write anywhere"),
  one(
    "ZIP with a bidirectional name",
    "a.zip",
    unknown,
    named("invoice\u202efdp.exe"),
    slip,
    "reads as something else"
  ),
  one(
    "tar whose entry leaves its folder",
    "a.tar",
    unknown,
    () => tar([{ name: "../a", content: eicar.subarray(0, 9) }]),
    slip,
    "unpacking it would write anywhere"
  )
]

export const hostileSet: ReadonlyArray<Hostile> = [...wrappings, ...bombs, ...active, ...disguises, ...closed, ...names]

/** Names that a client may not give its upload; each is refused, or loses what is in front of the last slash. */
export const hostileNames: ReadonlyArray<string> = [
  "../../etc/passwd",
  "..\\..\\boot.ini",
  "..",
  "a\u0000.png",
  "a\u001b[2J.txt",
  "a\r\nSet-Cookie: x.txt",
  "invoice\u202efdp.exe",
  "\u2066a\u2069.txt",
  ""
]
