// Ids that follow from what they are for: the same cause gives the same id, so a reaction that runs twice issues the same command and
// happens once, and a person's inbox is found without being looked up. UUIDv8 (RFC 9562, 5.8) from the SHA-256 of the parts.
import { createHash } from "node:crypto"
import { CommandId, type PrincipalId, StreamId } from "@holdfast/contracts/Ids"

export const deriveCommandId = (...parts: ReadonlyArray<string>): CommandId => CommandId.make(derive(parts))

/** The stream of what somebody has read. */
export const inboxIdOf = (principalId: PrincipalId): StreamId => StreamId.make(derive(["inbox", principalId]))

const derive = (parts: ReadonlyArray<string>): string => {
  // As a JSON array, the parts stay apart whatever they contain.
  const bytes = createHash("sha256").update(JSON.stringify(parts)).digest().subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = bytes.toString("hex")
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")
}
