// Automation: the rules that an event fires issue ordinary commands, as the service "automation". A command's id follows from the event
// and the rule, so a redelivery changes nothing. What the desk refuses is the outcome, written down and not tried again.
import { createHash } from "node:crypto"
import type { Consumer } from "@holdfast/broker/Consumer"
import type { Rule } from "@holdfast/contracts/automation/Rules"
import type { CommandError } from "@holdfast/contracts/CommandErrors"
import type { DeskRefusal } from "@holdfast/contracts/Commands"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { CommandId, PrincipalId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { type FiredAction, firedBy } from "@holdfast/domain/automation/Rules"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Effect, Option } from "effect"

export const runAutomation = (rules: ReadonlyArray<Rule>): Consumer<CommandBus> => ({
  group: "automation",
  handle: (envelope) => Effect.forEach(firedBy(rules, envelope), (fired) => issue(fired, envelope), { discard: true })
})

const automation: Principal = { id: PrincipalId.make("automation"), role: "service" }

const issue = Effect.fn("RunAutomation.issue")(function* ({ command, key, rule }: FiredAction, envelope: Envelope) {
  const bus = yield* CommandBus
  const meta = { commandId: derivedId(key), correlationId: envelope.correlationId }
  yield* bus.execute({ principal: automation, meta, command, causationId: Option.some(envelope.eventId) }).pipe(
    Effect.andThen(Effect.logInfo(`rule ${rule.id} issued ${command._tag}`)),
    Effect.catch((error) => {
      const away = unavailable(error)
      return away === null
        ? Effect.logWarning(`rule ${rule.id}: ${command._tag} was refused, ${error._tag}`)
        : Effect.fail(away)
    }),
    Effect.annotateLogs({ rule: rule.id, commandId: meta.commandId })
  )
})

/** A UUIDv8 (RFC 9562): the first 122 bits of the key's SHA-256. */
export const derivedId = (key: string): CommandId => {
  const bytes = createHash("sha256").update(key).digest().subarray(0, 16)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = bytes.toString("hex")
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)]
  return CommandId.make(parts.join("-"))
}

/** What passes by itself: the event waits for it. Null: an answer, which stays the same however often it is asked for. */
const unavailable = (error: DeskRefusal | CommandError): Unavailable | null => {
  switch (error._tag) {
    case "RateLimited":
    case "Overloaded":
    case "CommandInProgress":
    case "WriteUnavailable":
    case "OutcomeUnknown":
      return new Unavailable({
        dependency: "database",
        reason: "refused",
        retryAfterMs: error.retryAfterMs,
        detail: error._tag
      })
    default:
      return null
  }
}
