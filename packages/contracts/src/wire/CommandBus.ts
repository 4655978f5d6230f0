// How code inside the desk issues a command: the same definitions, rules and idempotency as any client has. A process wires it to
// the command flow; a flow that reacts to events sees only this.
import { Context, type Effect, type Option } from "effect"
import type { CommandAccepted, CommandMeta } from "../Command.ts"
import type { CommandError } from "../CommandErrors.ts"
import type { DeskCommand, DeskRefusal } from "../Commands.ts"
import type { EventId } from "../Ids.ts"
import type { Principal } from "../Principal.ts"

export interface IssuedCommand {
  readonly principal: Principal
  readonly meta: CommandMeta
  readonly command: DeskCommand
  /** The event that made somebody issue this, if one did. */
  readonly causationId: Option.Option<EventId>
}

export class CommandBus extends Context.Service<
  CommandBus,
  {
    /** Succeeds only once the command's events are durable. Repeating the same commandId gives the first answer again. */
    execute(issued: IssuedCommand): Effect.Effect<CommandAccepted, DeskRefusal | CommandError>
  }
>()("@holdfast/contracts/wire/CommandBus") {}
