// How far long work is, on standard error, so that standard output is for answers: one line that is drawn again on a terminal, a line now and then
// where it goes to a file, nothing for machines.
import { FileCommands } from "@holdfast/resilience/Limits"
import { Clock, Console, Duration, Effect } from "effect"

export const makeProgress = (showing: "people" | "nobody") => {
  let lastMs = Number.NEGATIVE_INFINITY
  let isDrawn = false
  return Effect.fnUntraced(function* (line: () => string) {
    const nowMs = yield* Clock.currentTimeMillis
    if (showing === "nobody" || nowMs - lastMs < Duration.toMillis(FileCommands.progressInterval)) return
    lastMs = nowMs
    const back = isDrawn && process.stderr.isTTY ? "\u001b[1A\u001b[0J" : ""
    isDrawn = true
    yield* Console.error(`${back}${line()}`)
  })
}
