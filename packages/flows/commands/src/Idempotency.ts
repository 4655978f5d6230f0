// What makes two commands the same one: the principal, the commandId, and the fingerprint of what is asked. The fingerprint is of a
// canonical form, so that the same command over another protocol, with its fields in another order, is still the same. An empty list is left out:
// protocol buffers cannot tell it from an absent one.
import { hash } from "node:crypto"
import type { CommandAccepted } from "@holdfast/contracts/Command"
import { CommandIdReused } from "@holdfast/contracts/CommandErrors"
import type { DeskCommand } from "@holdfast/contracts/Commands"
import type { Receipt } from "@holdfast/database/CommandStore"
import { Exit } from "effect"

/** SHA-256 of the command, its name and nothing of its meta. */
export const fingerprintOf = (command: DeskCommand): string => hash("sha256", canonical(command), "base64url")

/** The first answer again, marked as a replay; refused when this id was used for another command. */
export const answerAgain = (receipt: Receipt, fingerprint: string): Exit.Exit<CommandAccepted, CommandIdReused> =>
  receipt.fingerprint === fingerprint
    ? Exit.succeed({ ...receipt.answer, replayed: true })
    : Exit.fail(new CommandIdReused({ commandId: receipt.answer.commandId }))

const canonical = (command: DeskCommand): string => JSON.stringify(command, sortedKeys)

const sortedKeys = (_key: string, value: unknown): unknown =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? Object.fromEntries(
        Object.entries(value)
          .filter(([, field]) => !Array.isArray(field) || field.length > 0)
          .sort(([left], [right]) => (left < right ? -1 : 1))
      )
    : value
