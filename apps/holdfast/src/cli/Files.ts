// `holdfast files`: what became of uploaded files, sending them through again, and whether everything that they need is there. All of it needs the
// database alone; what it asks of the pipeline is done when the desk's processes run. Exit codes: 0 done, 1 it did not work or not for all, and
// of `verify` 4 something is lacking or damaged, 5 something is left over.
import { Command } from "effect/cli"
import { rescan, retry } from "./FilesAgain.ts"
import { show } from "./FilesShow.ts"
import { verify } from "./FilesVerify.ts"

export const files = Command.make("files").pipe(
  Command.withDescription("Uploaded files: what became of them, and whether all is there"),
  Command.withSubcommands([show, retry, rescan, verify])
)
