// E-mail (RFC 5322, MIME): every part in its decoded form. Boundaries are taken wherever one is announced, so that no reader's idea of the
// nesting hides a part from us.
import { enter, type Level, readAt } from "./Walk.ts"

export const walkMail = async (level: Level): Promise<void> => {
  level.budget.hold(level.sizeBytes, "an e-mail")
  const message = (await readAt(level.file, 0, level.sizeBytes)).toString("latin1")
  for (const part of partsOf(message)) {
    const content = decoded(part)
    if (content.length > 0) await enter(level, { name: "a part of an e-mail", chunks: () => [content] })
  }
}

interface Part {
  readonly encoding: string
  readonly body: string
}

const partsOf = function* (message: string): Generator<Part> {
  const boundaries = new Set<string>()
  let from = 0
  while (from <= message.length) {
    const { bodyAt, encoding, isMessage } = readHeader(message, from, boundaries)
    // A forwarded message is a header of its own.
    if (isMessage && /^(|7bit|8bit|binary)$/.test(encoding)) {
      from = bodyAt
      continue
    }
    const end = nextBoundary(message, bodyAt, boundaries)
    yield { encoding, body: message.slice(bodyAt, end.at) }
    if (end.next === null) return
    from = end.next
  }
}

const headerLengthMax = 65_536

const readHeader = (message: string, from: number, boundaries: Set<string>) => {
  const window = message.slice(from, from + headerLengthMax)
  const blank = /^\r?\n|\r?\n\r?\n/.exec(window)
  const length = blank === null ? window.length : blank.index + blank[0].length
  const header = window.slice(0, length).replace(/\r?\n[ \t]+/g, " ")
  for (const [, quoted, plain] of header.matchAll(/\bboundary\s*=\s*(?:"([^"\r\n]{1,200})"|([^\s;]{1,200}))/gi)) {
    boundaries.add(quoted ?? plain ?? "")
  }
  return {
    bodyAt: from + Math.max(length, 1),
    encoding: (/^content-transfer-encoding:\s*([\w-]+)/im.exec(header)?.[1] ?? "").toLowerCase(),
    isMessage: /^content-type:\s*message\/rfc822/im.test(header)
  }
}

const nextBoundary = (message: string, from: number, boundaries: ReadonlySet<string>) => {
  let at = message.startsWith("--", from) ? from : message.indexOf("\n--", from) + 1
  while (at > 0) {
    const lineEnd = message.indexOf("\n", at)
    const line = message.slice(at + 2, lineEnd < 0 ? message.length : lineEnd).trimEnd()
    if (boundaries.has(line) || (line.endsWith("--") && boundaries.has(line.slice(0, -2)))) {
      return { at, next: lineEnd < 0 ? null : lineEnd + 1 }
    }
    at = message.indexOf("\n--", at) + 1
  }
  return { at: message.length, next: null }
}

const decoded = ({ body, encoding }: Part): Buffer => {
  if (encoding === "base64") return Buffer.from(body, "base64")
  if (encoding !== "quoted-printable") return Buffer.from(body, "latin1")
  const plain = body
    .replace(/=\r?\n/g, "")
    .replace(/=([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(plain, "latin1")
}
