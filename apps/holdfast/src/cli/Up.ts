// `holdfast up`.
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { runDesk } from "../supervisor/Desk.ts"

export const json = Flag.Boolean("json").pipe(Flag.withDescription("Print JSON for machines"), Flag.withDefault(false))

export const up = Command.make("up", { json }, (options) => Effect.scoped(runDesk(options))).pipe(
  Command.withDescription("Start the desk and keep it running until Ctrl-C")
)
