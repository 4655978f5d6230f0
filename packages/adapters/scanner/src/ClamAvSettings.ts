// What a connected clamd is set to do with content that it cannot look into. Its protocol does not tell, so it is shown two harmless
// archives of our own, some kilobytes in all: one that says it is encrypted, and one deeper than any clamd goes. A clamd that finds
// nothing wrong with them passes every such file.
import { crc32 } from "node:zlib"

export interface ClamAvSettings {
  readonly alertEncrypted: boolean
  readonly alertExceedsMax: boolean
}

/** For a tool's version: an outcome under other settings is another outcome. */
export const describeSettings = ({ alertEncrypted, alertExceedsMax }: ClamAvSettings): string =>
  `AlertEncrypted ${alertEncrypted ? "yes" : "no"}, AlertExceedsMax ${alertExceedsMax ? "yes" : "no"}`

/** What to tell an operator; nothing when all is well. */
export const missingSettings = ({ alertEncrypted, alertExceedsMax }: ClamAvSettings): ReadonlyArray<string> => [
  ...(alertEncrypted ? [] : ["AlertEncrypted yes"]),
  ...(alertExceedsMax ? [] : ["AlertExceedsMax yes"])
]

/** One stored entry. */
const archive = (name: string, content: Buffer, flags: number): Buffer => {
  const shared = Buffer.alloc(26)
  shared.writeUInt16LE(20, 0)
  shared.writeUInt16LE(flags, 2)
  shared.writeUInt32LE(crc32(content), 10)
  shared.writeUInt32LE(content.length, 14)
  shared.writeUInt32LE(content.length - (flags === 0 ? 0 : 12), 18)
  shared.writeUInt16LE(name.length, 22)
  const local = Buffer.concat([Buffer.from("PK\x03\x04"), shared, Buffer.from(name), content])
  const directory = Buffer.concat([Buffer.from("PK\x01\x02\x14\x00"), shared, Buffer.alloc(14), Buffer.from(name)])
  const end = Buffer.alloc(18)
  end.writeUInt16LE(1, 4)
  end.writeUInt16LE(1, 6)
  end.writeUInt32LE(directory.length, 8)
  end.writeUInt32LE(local.length, 12)
  return Buffer.concat([local, directory, Buffer.from("PK\x05\x06"), end])
}

/** clamd follows at most 100 levels, however it is set. */
const levels = 120

export const encryptedProbe = (): Buffer => archive("a", Buffer.alloc(24, 7), 1)

export const deepProbe = (): Buffer => {
  let content: Buffer = Buffer.from("nothing")
  for (let level = 0; level < levels; level++) content = archive("a", content, 0)
  return content
}
