// `holdfast drill`.
import { Command } from "effect/cli"

export const drill = Command.make("drill").pipe(
  Command.withDescription("Break something on purpose and see what users feel")
)
