// A decision as a sentence: given these events, when this command comes, then these events, or this refusal.
import { CommandId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { type Decider, type DecisionContext, evolveAll } from "@holdfast/domain/Decider"
import { Result } from "effect"
import { expect } from "vitest"

export interface Outcome<Event, Refusal> {
  /** Accepted, with exactly these events. */
  accepted(...events: ReadonlyArray<Event>): void
  /** Accepted, and no news. */
  unchanged(): void
  refused(refusal: Refusal): void
}

export const firstCommandId = CommandId.make("01900000-0000-7000-8000-0000000c0001")

/** A number that is not the default of anything. */
export const nextNumber = 4711

export const given =
  <State, Command, Event, Refusal>(decider: Decider<State, Command, Event, Refusal>) =>
  (...past: ReadonlyArray<Event>) => ({
    when: (command: Command, principal: Principal, context: Partial<DecisionContext> = {}): Outcome<Event, Refusal> => {
      const state = evolveAll(decider, null, past)
      const facts = { principal, commandId: firstCommandId, number: nextNumber, ...context }
      const decision = decider.decide(state, command, facts)
      return {
        accepted: (...events) => expect(Result.getOrThrow(decision)).toEqual(events),
        unchanged: () => expect(Result.getOrThrow(decision)).toEqual([]),
        refused: (refusal) => expect(Result.isFailure(decision) ? decision.failure : decision).toEqual(refusal)
      }
    }
  })
