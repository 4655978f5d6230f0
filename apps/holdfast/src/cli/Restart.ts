// `holdfast restart [process]`: replaces the copies of a running desk one after the other, so that nobody notices. It says what it does as
// it does it; interrupted, it leaves the restart to go on. Exit code 0 only when every copy was replaced.
import { Console, Effect, Option } from "effect"
import { Argument, Command } from "effect/cli"
import { refuse } from "../Refusal.ts"
import { readSettings } from "../Settings.ts"
import { askRestart, askRestartProgress, controlPath } from "../supervisor/Control.ts"
import { dataFolderAt } from "../supervisor/DataFolder.ts"
import type { RestartProgress } from "../supervisor/Rolling.ts"

const chosen = Argument.String("process").pipe(
  Argument.withDescription(
    "A process like command-api, or one copy of it like command-api-1; all of them when left out"
  ),
  Argument.optional
)

export const restart = Command.make(
  "restart",
  { chosen },
  Effect.fn("holdfast.restart")(function* (options) {
    const { dataDir } = yield* readSettings
    const path = controlPath(dataFolderAt(dataDir).run)
    yield* askRestart(path, Option.getOrNull(options.chosen))
    const { failure, steps } = yield* watch(path)
    if (failure !== null) return yield* refuse(`${failure}\nThe restart ended there; the desk runs on.`)
    yield* Console.log(`Replaced ${steps.length} of ${steps.length}.`)
  })
).pipe(Command.withDescription("Replace the processes of a running desk one by one, with nobody noticing"))

/** Until its end, telling each change. */
const watch = Effect.fnUntraced(function* (path: string) {
  const told = new Map<string, string>()
  while (true) {
    const progress = yield* askRestartProgress(path)
    yield* tellChanges(progress, told)
    if (!progress.underWay) return progress
    yield* Effect.sleep("200 millis")
  }
})

const tellChanges = ({ steps }: RestartProgress, told: Map<string, string>) =>
  Effect.forEach(
    steps.filter(({ name, phase }) => phase !== "waiting" && told.get(name) !== phase),
    ({ name, phase }) => {
      told.set(name, phase)
      return Console.log(`${name}: ${words[phase]}`)
    },
    { discard: true }
  )

const words: Readonly<Record<RestartProgress["steps"][number]["phase"], string>> = {
  waiting: "waits for its turn",
  starting: "its successor starts",
  leaving: "its successor is ready and takes over; the former finishes what it has",
  done: "replaced",
  failed: "not replaced"
}
