// Every process that has to be gone at the end, for the one case in which nothing is done in order: a second Ctrl-C.
import { signalTree } from "@holdfast/database/embedded/ProcessTree"
import { Effect } from "effect"
import type { Plan, Running } from "./Keeper.ts"

const underWay = new Set<number>()

export const remembered = <R extends Running>(plan: Plan<R>): Plan<R> => ({
  ...plan,
  start: Effect.tap(plan.start, (running) =>
    Effect.sync(() => underWay.add(running.pid)).pipe(
      Effect.andThen(running.ended),
      Effect.ensuring(Effect.sync(() => underWay.delete(running.pid))),
      Effect.forkDetach({ startImmediately: true })
    )
  )
})

export const killAllNow = (): void => {
  for (const pid of underWay) signalTree(pid, "SIGKILL")
}
