// PDF (ISO 32000), as its text shows it and without following its structure: streams are unpacked within the budget, and what describes
// the document is searched for programs, commands and encryption. Attached files are looked into like any other content.
import { inflateSync } from "node:zlib"
import { bad, beyond } from "./Findings.ts"
import { enter, type Level, readAt } from "./Walk.ts"

export const walkPdf = async (level: Level): Promise<void> => {
  level.budget.hold(level.sizeBytes, "a PDF")
  const bytes = await readAt(level.file, 0, level.sizeBytes)
  let structureAt = 0
  for (const stream of streamsOf(bytes)) {
    checkStructure(level, bytes.subarray(structureAt, stream.at))
    structureAt = stream.end
    await enterStream(level, stream)
  }
  checkStructure(level, bytes.subarray(structureAt))
}

interface PdfStream {
  readonly at: number
  readonly end: number
  readonly dictionary: string
  readonly content: Buffer
}

const beginMark = Buffer.from("stream")
const endMark = Buffer.from("endstream")
const dictionaryBytesMax = 4096

const streamsOf = function* (bytes: Buffer): Generator<PdfStream> {
  for (let from = 0; ; ) {
    const at = bytes.indexOf(beginMark, from)
    if (at < 0) return
    const begin = at + beginMark.length + (bytes[at + 6] === 0x0d ? 2 : 1)
    if (bytes[at + 6] !== 0x0d && bytes[at + 6] !== 0x0a) {
      from = at + beginMark.length
      continue
    }
    const found = bytes.indexOf(endMark, begin)
    const end = found < 0 ? bytes.length : found
    const before = bytes.toString("latin1", Math.max(0, at - dictionaryBytesMax), at)
    const dictionary = unescaped(before.slice(before.lastIndexOf(" obj") + 1))
    yield { at, end, dictionary, content: bytes.subarray(begin, end) }
    from = end + endMark.length
  }
}

/** Names may be written with hexadecimal escapes: `/J#61vaScript`. */
const unescaped = (text: string): string =>
  text.replace(/#([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))

const program = /\/(JavaScript|JS|Launch|RichMedia)(?![A-Za-z0-9])/

const checkStructure = ({ budget }: Level, bytes: Buffer): void => {
  const text = unescaped(bytes.toString("latin1"))
  const found = program.exec(text)?.[1]
  if (found !== undefined) throw bad("type_not_allowed", `a PDF with a program or command in it: /${found}`)
  if (/\/Encrypt(?![A-Za-z0-9])/.test(text)) budget.cannotLookInto("encrypted", "an encrypted PDF")
}

const otherFilter = /\/(ASCIIHexDecode|AHx|ASCII85Decode|A85|LZWDecode|LZW|RunLengthDecode|RL|Crypt)(?![A-Za-z0-9])/
const flate = /\/(FlateDecode|Fl)(?![A-Za-z0-9])/g

const enterStream = async (level: Level, { content, dictionary }: PdfStream): Promise<void> => {
  const times = [...dictionary.matchAll(flate)].length
  if (times > 1) throw beyond("a PDF whose streams are packed twice")
  const isPicture = /\/Subtype\s*\/Image(?![A-Za-z0-9])/.test(dictionary)
  const unpacked = times === 0 ? content : inflate(level, content)
  if (/\/ObjStm(?![A-Za-z0-9])/.test(dictionary)) {
    if (otherFilter.test(dictionary)) throw bad("type_not_allowed", "a PDF whose structure is packed unusually")
    checkStructure(level, unpacked)
  }
  await enter(level, { name: "a stream of a PDF", chunks: () => [unpacked], isPicture })
}

/** What is damaged a reader shows as far as it goes; there is nothing in it to look into. */
const inflate = ({ budget }: Level, content: Buffer): Buffer => {
  const maxOutputLength = budget.limits.documentBytesMax
  try {
    return inflateSync(content, { maxOutputLength, finishFlush: 2 })
  } catch (error) {
    if (error instanceof RangeError) throw beyond(`a stream of a PDF expands to more than ${maxOutputLength} bytes`)
    return Buffer.alloc(0)
  }
}
