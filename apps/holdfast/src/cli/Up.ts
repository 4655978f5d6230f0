// `holdfast up`.
import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { CopiesAllowed } from "../Settings.ts"
import { runDesk } from "../supervisor/Desk.ts"

export const json = Flag.Boolean("json").pipe(Flag.withDescription("Print JSON for machines"), Flag.withDefault(false))

const copies = Flag.Int("copies").pipe(
  Flag.withDescription("Copies of each process (HOLDFAST_COPIES)"),
  Flag.withSchema(CopiesAllowed),
  Flag.optional
)

const drillable = Flag.Boolean("drillable").pipe(
  Flag.withDescription("Let `holdfast drill` make any fault for any server (HOLDFAST_DRILLABLE)"),
  Flag.withDefault(false)
)

export const up = Command.make("up", { json, copies, drillable }, (options) =>
  Effect.scoped(runDesk({ ...options, copies: Option.getOrUndefined(options.copies) }))
).pipe(Command.withDescription("Start the desk and keep it running until Ctrl-C"))
