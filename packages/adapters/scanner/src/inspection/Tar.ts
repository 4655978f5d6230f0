// tar (POSIX ustar, pax and GNU's long names): entries one behind the other, as they are.
import { isTarHeader } from "../Containers.ts"
import { bad } from "./Findings.ts"
import { checkName, enter, type Level, readAt, slice } from "./Walk.ts"

const blockBytes = 512

export const walkTar = async (level: Level): Promise<void> => {
  let at = 0
  let longName: string | null = null
  while (at + blockBytes <= level.sizeBytes) {
    const header = await readAt(level.file, at, blockBytes)
    // Two empty blocks are the end; unpackers stop at the first.
    if (header.every((byte) => byte === 0)) return
    if (!isTarHeader(header)) throw bad("malformed", "an archive with a damaged header")
    const sizeBytes = isLink(header) ? 0 : sizeOf(header)
    const start = at + blockBytes
    if (start + sizeBytes > level.sizeBytes) throw bad("malformed", "an archive that ends too early")
    at = start + Math.ceil(sizeBytes / blockBytes) * blockBytes
    const type = String.fromCharCode(header[156] ?? 0)
    if (type === "L" || type === "x") {
      longName = await readLongName(level, type, start, sizeBytes)
      continue
    }
    const name = longName ?? nameOf(header)
    longName = null
    checkName(name.replace(/\/$/, ""))
    await enter(level, { name, chunks: () => slice(level.path, start, sizeBytes) })
  }
}

/** Hard and symbolic links, devices and folders have no content, whatever their size field says. */
const isLink = (header: Buffer): boolean => /[1-6]/.test(String.fromCharCode(header[156] ?? 0))

const text = (header: Buffer, from: number, length: number): string =>
  header.toString("latin1", from, from + length).replace(/\0.*$/s, "")

const nameOf = (header: Buffer): string => {
  const prefix = text(header, 257, 5) === "ustar" ? text(header, 345, 155) : ""
  return prefix === "" ? text(header, 0, 100) : `${prefix}/${text(header, 0, 100)}`
}

const sizeOf = (header: Buffer): number => {
  // GNU writes what does not fit eleven octal digits in binary.
  const isBinary = ((header[124] ?? 0) & 0x80) !== 0
  const size = isBinary ? Number(header.readBigUInt64BE(128)) : Number.parseInt(text(header, 124, 12).trim() || "0", 8)
  if (!Number.isSafeInteger(size) || size < 0) throw bad("malformed", "an archive with a damaged header")
  return size
}

const readLongName = async (
  level: Level,
  type: "L" | "x",
  start: number,
  sizeBytes: number
): Promise<string | null> => {
  level.budget.spendEntry()
  level.budget.hold(sizeBytes, "an archive's header")
  const value = (await readAt(level.file, start, sizeBytes)).toString("utf8")
  return type === "L" ? value.replace(/\0+$/, "") : (/^\d+ path=(.*)$/m.exec(value)?.[1] ?? null)
}
