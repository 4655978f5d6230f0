// A private clamd for tests with a signature database of three lines, so that it starts in seconds and needs no network:
// EICAR by hash, EICAR inside other files, and the program that all of Debian's clamav-testfiles contain.
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { requireExecutable } from "./Binaries.ts"
import type { ServerPlan } from "./ServerProcess.ts"

/** The harmless program whose copies, packed in many ways, make up clamav-testfiles. */
export const testFilesProgram = "/usr/share/clamav-testfiles/clam.exe"

// The industry's test string, kept reversed so that no scanner takes this file for it.
const eicar = [..."*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X"].reverse().join("")

export const clamdPlan = (root: string, port: number): ServerPlan => {
  const folder = join(root, "clamd")
  const configuration = join(folder, "clamd.conf")
  return {
    name: "clamd",
    port,
    url: `tcp://127.0.0.1:${port}`,
    folder,
    prepare: async () => {
      writeSignatures(join(folder, "signatures"))
      writeFileSync(configuration, clamdConfiguration(folder, port))
    },
    command: [requireExecutable("clamd"), "--config-file", configuration],
    environment: {},
    user: undefined,
    greeting: { send: Buffer.from("zPING\0"), expect: Buffer.from("PONG") },
    stopSignal: "SIGTERM"
  }
}

const writeSignatures = (folder: string) => {
  mkdirSync(folder, { recursive: true })
  const md5 = createHash("md5").update(eicar).digest("hex")
  writeFileSync(join(folder, "eicar.hdb"), `${md5}:${eicar.length}:Eicar-Test-Signature\n`)
  writeFileSync(join(folder, "eicar.ndb"), `Eicar-Test-Signature:0:*:${Buffer.from(eicar).toString("hex")}\n`)
  if (!existsSync(testFilesProgram)) {
    throw new Error(`${testFilesProgram} is missing; it is part of the Debian package clamav-testfiles.`)
  }
  const program = readFileSync(testFilesProgram)
  const sha256 = createHash("sha256").update(program).digest("hex")
  writeFileSync(join(folder, "testfiles.hsb"), `${sha256}:${program.length}:ClamAV-Test-File\n`)
}

const clamdConfiguration = (folder: string, port: number): string =>
  [
    `DatabaseDirectory ${join(folder, "signatures")}`,
    `TemporaryDirectory ${folder}`,
    `TCPSocket ${port}`,
    "TCPAddr 127.0.0.1",
    "Foreground true",
    ...(process.getuid?.() === 0 ? ["User root"] : []),
    "StreamMaxLength 512M",
    "MaxScanSize 512M",
    "MaxFileSize 512M",
    "MaxThreads 4",
    "AlertEncrypted yes",
    "AlertExceedsMax yes",
    ""
  ].join("\n")
