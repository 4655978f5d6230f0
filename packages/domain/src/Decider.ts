// How every aggregate decides: three plain functions, after Jérémie Chassaing's decider pattern. Nothing in here reads a clock, a random source or the network; what a
// decision needs of the outside comes in its context.
import type { CommandId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import type { Result } from "effect"

export interface DecisionContext {
  readonly principal: Principal
  /** Also the id of what the command creates: a ticket, a message. */
  readonly commandId: CommandId
  /** The number that a ticket opened by this command takes. */
  readonly number: number
}

export interface Decider<State, Command, Event, Refusal> {
  /** No events: the command is accepted and changes nothing. State is null before the first event. */
  readonly decide: (
    state: State | null,
    command: Command,
    context: DecisionContext
  ) => Result.Result<ReadonlyArray<Event>, Refusal>
  readonly evolve: (state: State | null, event: Event) => State | null
}

/** The state after some events. */
export const evolveAll = <State, Command, Event, Refusal>(
  decider: Decider<State, Command, Event, Refusal>,
  state: State | null,
  events: ReadonlyArray<Event>
): State | null => events.reduce(decider.evolve, state)
