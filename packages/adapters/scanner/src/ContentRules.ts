// What is looked for anywhere in a content, in one pass and bounded memory: by the content policy in an uploaded file, and by the inspector
// in each thing inside one.

// Kept reversed so that no scanner takes this file for the test string.
const eicar = [..."*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X"].reverse().join("")

const anywhere = {
  eicar: Buffer.from(eicar),
  ooxmlMacros: Buffer.from("vbaProject.bin"),
  oleMacros: Buffer.from("_VBA_PROJECT", "utf16le"),
  oleEncrypted: Buffer.from("EncryptedPackage", "utf16le"),
  pdfEncrypt: Buffer.from("/Encrypt")
} as const
type Needle = keyof typeof anywhere
const needles: ReadonlyArray<Needle> = ["eicar", "ooxmlMacros", "oleMacros", "oleEncrypted", "pdfEncrypt"]
const overlapBytes = Math.max(...Object.values(anywhere).map((needle) => needle.length)) - 1

export interface Findings {
  readonly head: Buffer
  /** The newest bytes: what may be the start of a needle, and the directory at an archive's end. */
  readonly tail: Buffer
  readonly found: ReadonlySet<Needle>
  readonly encryptedEntry: boolean
}

export const nothingYet: Findings = {
  head: Buffer.alloc(0),
  tail: Buffer.alloc(0),
  found: new Set(),
  encryptedEntry: false
}

/** How much of both ends is kept. */
export interface Ends {
  readonly headBytes: number
  readonly tailBytes: number
}

export const look =
  ({ headBytes, tailBytes }: Ends) =>
  (before: Findings, chunk: Uint8Array): Findings => {
    const window = Buffer.concat([before.tail.subarray(-overlapBytes), chunk])
    const found = new Set(before.found)
    for (const name of needles) if (!found.has(name) && window.includes(anywhere[name])) found.add(name)
    const isHeadFull = before.head.length >= headBytes
    return {
      head: isHeadFull ? before.head : Buffer.concat([before.head, chunk]).subarray(0, headBytes),
      tail: keepTail(before.tail, chunk, tailBytes),
      found,
      encryptedEntry: before.encryptedEntry || hasEncryptedEntry(window)
    }
  }

const keepTail = (before: Buffer, chunk: Uint8Array, tailBytes: number): Buffer =>
  chunk.length >= tailBytes
    ? Buffer.from(chunk.subarray(-tailBytes))
    : Buffer.concat([before, chunk]).subarray(-tailBytes)

const zipEntry = Buffer.from("PK\x03\x04", "latin1")

/** A local file header whose general purpose flags have bit 0: encrypted (APPNOTE 4.4.4). */
const hasEncryptedEntry = (window: Buffer): boolean => {
  for (let at = window.indexOf(zipEntry); at >= 0 && at + 8 <= window.length; at = window.indexOf(zipEntry, at + 4)) {
    if ((window.readUInt16LE(at + 6) & 1) === 1) return true
  }
  return false
}
