// Automation: the rules that an event fires issue ordinary commands, as the service "automation". A command's id follows from the event
// and the rule, so a redelivery changes nothing. What the desk refuses is the outcome, written down and not tried again.
import type { Consumer } from "@holdfast/broker/Consumer"
import type { Rule } from "@holdfast/contracts/automation/Rules"
import type { CommandError } from "@holdfast/contracts/CommandErrors"
import type { DeskRefusal } from "@holdfast/contracts/Commands"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { PrincipalId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { type FiredAction, firedBy } from "@holdfast/domain/automation/Rules"
import { deriveCommandId } from "@holdfast/domain/DerivedId"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Effect, Option } from "effect"

export const runAutomation = (rules: ReadonlyArray<Rule>): Consumer<CommandBus> => ({
  group: "automation",
  wants: (envelope) => firedBy(rules, envelope).length > 0,
  handle: (envelope) => Effect.forEach(firedBy(rules, envelope), (fired) => issue(fired, envelope), { discard: true })
})

const automation: Principal = { id: PrincipalId.make("automation"), role: "service" }

const issue = Effect.fn("RunAutomation.issue")(function* ({ command, key, rule }: FiredAction, envelope: Envelope) {
  const bus = yield* CommandBus
  const meta = { commandId: deriveCommandId(key), correlationId: envelope.correlationId }
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
