// The scanner of the embedded default: rules on content, no signatures. It refuses the industry's test string anywhere, programs and
// scripts, office documents with macros, and encrypted archives and documents.
// It is not a virus scanner and says so in every verdict: its tool is "holdfast-policy". It reads the content once, in bounded memory.
import type { RejectionReason, Tool } from "@holdfast/contracts/attachment/Stages"
import { Scanner as Limits } from "@holdfast/resilience/Limits"
import { ByteSize, Effect, Layer, Stream } from "effect"
import { type Findings, look, nothingYet } from "./ContentRules.ts"
import { Scanner, type ScanRequest, type Verdict } from "./Scanner.ts"

/** Raised with every change of the rules, so that an outcome can be told from an older one. */
const tool: Tool = { name: "holdfast-policy", version: "2" }

const ends = { headBytes: 4096, tailBytes: ByteSize.toNumberUnsafe(Limits.tailBytes) }

export const layer = Layer.succeed(Scanner, {
  scan: Effect.fn("Scanner.scan")((request: ScanRequest) =>
    Effect.map(
      Stream.runFold(request.content, () => nothingYet, look(ends)),
      (findings) => verdictOf(request, findings)
    )
  ),
  tool: Effect.succeed(tool)
})

type Rule = (request: ScanRequest, findings: Findings) => readonly [RejectionReason, string] | null

const verdictOf = (request: ScanRequest, findings: Findings): Verdict => {
  for (const rule of rules) {
    const broken = rule(request, findings)
    if (broken !== null) return { _tag: "Bad", tool, reason: broken[0], detail: broken[1] }
  }
  return { _tag: "Clean", tool }
}

const startsWith = (content: Buffer, ...bytes: ReadonlyArray<number>): boolean =>
  bytes.every((byte, index) => content[index] === byte)

const isZip = ({ head }: Findings): boolean => startsWith(head, 0x50, 0x4b, 0x03, 0x04)
const isOle = ({ head }: Findings): boolean => startsWith(head, 0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1)
const isPdf = ({ head }: Findings): boolean => head.subarray(0, 1024).includes("%PDF-")

const testString: Rule = (_, { found }) => (found.has("eicar") ? ["malware", "the EICAR test string"] : null)

const program: Rule = (_, { head }) => {
  const kind = programKind(head)
  return kind === null ? null : ["type_not_allowed", `a program: ${kind}`]
}

const machO = new Set([0xfeedface, 0xfeedfacf, 0xcefaedfe, 0xcffaedfe, 0xcafebabe])

const programKind = (head: Buffer): string | null => {
  if (startsWith(head, 0x4d, 0x5a)) return "Windows or DOS"
  if (startsWith(head, 0x7f, 0x45, 0x4c, 0x46)) return "ELF"
  if (head.length >= 4 && machO.has(head.readUInt32BE(0))) return "Mach-O or Java"
  if (startsWith(head, 0x23, 0x21)) return "a script"
  if (startsWith(head, 0x4c, 0, 0, 0, 0x01, 0x14, 0x02, 0)) return "a Windows shortcut"
  return null
}

const scriptNames = /\.(bat|cmd|com|cpl|exe|hta|jar|js|jse|lnk|msi|pif|ps1|scr|sh|vb|vbe|vbs|wsf)$/i

const programName: Rule = ({ name }) =>
  scriptNames.test(name) ? ["type_not_allowed", "a name that systems run as a program"] : null

const macros: Rule = (_, findings) =>
  (isZip(findings) && findings.found.has("ooxmlMacros")) || (isOle(findings) && findings.found.has("oleMacros"))
    ? ["type_not_allowed", "a document with macros"]
    : null

const aesCoder = Buffer.from([0x06, 0xf1, 0x07, 0x01])

const encrypted: Rule = (_, findings) => {
  const { head, tail } = findings
  const isEncrypted =
    (isZip(findings) && findings.encryptedEntry) ||
    (isPdf(findings) && findings.found.has("pdfEncrypt")) ||
    (isOle(findings) && findings.found.has("oleEncrypted")) ||
    (startsWith(head, 0x37, 0x7a, 0xbc, 0xaf, 0x27, 0x1c) && tail.includes(aesCoder)) ||
    isEncryptedRar(head)
  return isEncrypted ? ["encrypted", "encrypted content cannot be looked into"] : null
}

/** RAR 4: flag 0x0080 of the archive header. RAR 5: the first header is the encryption header, type 4. */
const isEncryptedRar = (head: Buffer): boolean => {
  if (!startsWith(head, 0x52, 0x61, 0x72, 0x21, 0x1a, 0x07)) return false
  if (head[6] === 0x00) return ((head[10] ?? 0) & 0x80) === 0x80
  return head[6] === 0x01 && head[13] === 0x04
}

const rules: ReadonlyArray<Rule> = [testString, program, programName, macros, encrypted]
