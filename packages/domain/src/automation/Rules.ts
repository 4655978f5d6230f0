// Which rules an event fires and which commands they issue. Pure: the same event and rules give the same commands, with ids that
// follow from (event, rule, action), so a redelivery issues nothing new.
import type { Rule, RuleCondition } from "@holdfast/contracts/automation/Rules"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { TicketId } from "@holdfast/contracts/Ids"
import type { TicketCommand } from "@holdfast/contracts/ticket/Commands"

export interface FiredAction {
  readonly rule: Rule
  /** What a commandId is derived from: unique per event, rule and action. */
  readonly key: string
  readonly command: TicketCommand
}

export const firedBy = (rules: ReadonlyArray<Rule>, envelope: Envelope): ReadonlyArray<FiredAction> =>
  rules
    .filter(
      (rule) => rule.on === envelope.event._tag && rule.conditions.every((condition) => holds(condition, envelope))
    )
    .flatMap((rule) =>
      rule.actions.map((action, index) => ({
        rule,
        key: `${envelope.eventId}/${rule.id}/${index}`,
        command: {
          _tag: "AssignTicket",
          ticketId: TicketId.make(envelope.streamId),
          assigneeId: action.assigneeId
        } as const
      }))
    )

const holds = (condition: RuleCondition, { event }: Envelope): boolean =>
  event._tag === "TicketOpened" && event.subject.toLowerCase().includes(condition.words.toLowerCase())
