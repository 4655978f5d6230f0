// Office documents, PDFs, e-mails and XML with something in them that has no place there.
import { deflateSync } from "node:zlib"
import { deflatedZeros, zip } from "./Archives.ts"

const xml = (body: string): Buffer => Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${body}`)
const ooxml = "http://schemas.openxmlformats.org"

/** The least that is an office document, with more entries. */
export const office = (
  part: "word/document.xml" | "xl/workbook.xml",
  contentType: string,
  more: Readonly<Record<string, Uint8Array>> = {}
): Buffer => {
  const types = `<Types xmlns="${ooxml}/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Default Extension="bin" ContentType="application/vnd.ms-office.vbaProject"/><Override PartName="/${part}" ContentType="${contentType}"/></Types>`
  const relations = `<Relationships xmlns="${ooxml}/package/2006/relationships"><Relationship Id="r1" Type="${ooxml}/officeDocument/2006/relationships/officeDocument" Target="${part}"/></Relationships>`
  return zip([
    { name: "[Content_Types].xml", content: xml(types) },
    { name: "_rels/.rels", content: xml(relations) },
    { name: part, content: xml(bodyOf(part)) },
    ...Object.entries(more).map(([name, content]) => ({ name, content }))
  ])
}

const bodyOf = (part: string): string =>
  part.startsWith("word")
    ? `<w:document xmlns:w="${ooxml}/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>Dear desk</w:t></w:r></w:p></w:body></w:document>`
    : `<workbook xmlns="${ooxml}/spreadsheetml/2006/main"><sheets/></workbook>`

const main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
const macros = "application/vnd.ms-word.document.macroEnabled.main+xml"
const sheetMacros = "application/vnd.ms-excel.sheet.macroEnabled.main+xml"

export const docx = (more: Readonly<Record<string, Uint8Array>> = {}): Buffer => office("word/document.xml", main, more)
export const docm = (): Buffer =>
  office("word/document.xml", macros, { "word/vbaProject.bin": Buffer.from("Attribute VB_Name") })
export const xlsm = (): Buffer =>
  office("xl/workbook.xml", sheetMacros, { "xl/vbaProject.bin": Buffer.from("Attribute VB_Name") })

interface PdfStream {
  readonly dictionary: string
  readonly content: Uint8Array
}

/** One empty page; `catalog` and `streams` add to it. */
export const pdf = (catalog = "", streams: ReadonlyArray<PdfStream> = []): Buffer => {
  const objects: Array<Buffer> = [
    Buffer.from(`<< /Type /Catalog /Pages 2 0 R ${catalog} >>`),
    Buffer.from("<< /Type /Pages /Kids [3 0 R] /Count 1 >>"),
    Buffer.from("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] >>"),
    ...streams.map(({ content, dictionary }) =>
      Buffer.concat([
        Buffer.from(`<< /Length ${content.length} ${dictionary} >>\nstream\n`),
        content,
        Buffer.from("\nendstream")
      ])
    )
  ]
  const parts: Array<Buffer> = [Buffer.from("%PDF-1.7\n")]
  const offsets = objects.map((object, index) => {
    const at = parts.reduce((sum, part) => sum + part.length, 0)
    parts.push(Buffer.concat([Buffer.from(`${index + 1} 0 obj\n`), object, Buffer.from("\nendobj\n")]))
    return at
  })
  const xrefAt = parts.reduce((sum, part) => sum + part.length, 0)
  const rows = offsets.map((at) => `${String(at).padStart(10, "0")} 00000 n \n`).join("")
  const count = objects.length + 1
  const end = `xref\n0 ${count}\n0000000000 65535 f \n${rows}trailer\n<< /Size ${count} /Root 1 0 R >>\nstartxref\n${xrefAt}\n%%EOF\n`
  return Buffer.concat([...parts, Buffer.from(end)])
}

const script = "<< /S /JavaScript /JS (app.alert\\(1\\)) >>"
export const pdfWithScript = (): Buffer => pdf(`/OpenAction ${script}`)
/** The same with the name written in hexadecimal, inside a packed object stream. */
export const pdfWithHiddenScript = (): Buffer =>
  pdf("/OpenAction 5 0 R", [
    {
      dictionary: "/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode",
      content: deflateSync(Buffer.from(`5 0 ${script.replace("JavaScript", "J#61vaScript")}`))
    }
  ])
export const pdfBomb = (): Buffer => pdf("", [{ dictionary: "/Filter /FlateDecode", content: zlibOfZeros(160) }])

/** Its checksum is missing; nobody gets that far. */
const zlibOfZeros = (mebibytes: number): Buffer =>
  Buffer.concat([Buffer.from([0x78, 0x9c]), deflatedZeros(mebibytes).packed])

export const pdfWithAttachment = (content: Uint8Array): Buffer =>
  pdf("", [{ dictionary: "/Type /EmbeddedFile /Filter /FlateDecode", content: deflateSync(content) }])

export const mail = (content: Uint8Array, name: string): Buffer => {
  const lines =
    Buffer.from(content)
      .toString("base64")
      .match(/.{1,76}/g) ?? []
  return Buffer.from(
    [
      "Received: from mail.example by desk.example; Mon, 5 Jan 2026 09:00:00 +0000",
      "From: Carol <carol@example.com>",
      "To: desk@example.com",
      "Subject: please see the file",
      "MIME-Version: 1.0",
      'Content-Type: multipart/mixed; boundary="=_part"',
      "",
      "--=_part",
      "Content-Type: text/plain",
      "",
      "It is attached.",
      "--=_part",
      "Content-Type: application/octet-stream",
      "Content-Transfer-Encoding: base64",
      `Content-Disposition: attachment; filename="${name}"`,
      "",
      ...lines,
      "--=_part--",
      ""
    ].join("\r\n")
  )
}

/** "Billion laughs": nine levels of ten, some three gigabytes. */
export const entityBomb = (root = "lolz"): Buffer => {
  const levels = Array.from({ length: 9 }, (_, level) => {
    const inner = level === 0 ? "lol" : `&l${level - 1};`.repeat(10)
    return `  <!ENTITY l${level} "${inner}">`
  })
  return xml(
    `<!DOCTYPE ${root} [\n${levels.join("\n")}\n]>\n<${root} xmlns="http://www.w3.org/2000/svg">&l8;</${root}>`
  )
}

/** One long entity, used often. */
export const quadraticBomb = (): Buffer =>
  xml(`<!DOCTYPE a [ <!ENTITY x "${"x".repeat(50_000)}"> ]>\n<a>${"&x;".repeat(50_000)}</a>`)

export const externalEntity = (): Buffer => xml('<!DOCTYPE a [ <!ENTITY x SYSTEM "file:///etc/passwd"> ]>\n<a>&x;</a>')

/** As drawing programs write it: short names for long addresses. */
export const harmlessEntities = (): Buffer =>
  xml('<!DOCTYPE svg [ <!ENTITY ns_svg "http://www.w3.org/2000/svg"> ]>\n<svg xmlns="&ns_svg;" width="1" height="1"/>')
