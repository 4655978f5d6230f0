// Automation rules as data: when an event matches every condition, the actions are issued as ordinary commands.
import { Schema } from "effect"
import { PrincipalId } from "../Ids.ts"
import { Line } from "../Text.ts"

export const SubjectContains = Schema.TaggedStruct("SubjectContains", { words: Line(200) })
export const RuleCondition = Schema.Union([SubjectContains])
export type RuleCondition = typeof RuleCondition.Type

export const AssignTo = Schema.TaggedStruct("AssignTo", { assigneeId: PrincipalId })
export const RuleAction = Schema.Union([AssignTo])
export type RuleAction = typeof RuleAction.Type

export const Rule = Schema.Struct({
  id: Line(100),
  on: Schema.Literals(["TicketOpened"]),
  conditions: Schema.Array(RuleCondition).check(Schema.isBetweenLength(1, 20)),
  actions: Schema.Array(RuleAction).check(Schema.isBetweenLength(1, 10))
})
export type Rule = typeof Rule.Type

export const Rules = Schema.Array(Rule).check(Schema.isMaxLength(200))
