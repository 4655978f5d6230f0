// What the answer to a command of the pipeline means for it: wait and repeat, or give up. There is no third way.
import type { CommandError } from "@holdfast/contracts/CommandErrors"
import type { DeskRefusal } from "@holdfast/contracts/Commands"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Effect } from "effect"

/** Fails when repeating the same command is worth it; otherwise says in one word why it was refused for good. */
export const refusalOf = (
  error: CommandError | DeskRefusal
): Effect.Effect<{ readonly refused: (CommandError | DeskRefusal)["_tag"] }, Unavailable> => {
  switch (error._tag) {
    case "WriteUnavailable":
    case "OutcomeUnknown":
    case "Overloaded":
    case "RateLimited":
    case "CommandInProgress":
      return Effect.fail(
        new Unavailable({
          dependency: "database",
          reason: "refused",
          retryAfterMs: error.retryAfterMs,
          detail: `the command was answered with ${error._tag}`
        })
      )
    default:
      return Effect.succeed({ refused: error._tag })
  }
}
