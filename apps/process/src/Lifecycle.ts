// When a process is open to the world. Its doors open together, once everything behind them is built, so that whoever comes is answered;
// when it stops they close first, and what came in before is finished while another copy takes what comes next. A server that is built
// outside of a process opens at once.
import { Context, type Duration, Effect, Ref } from "effect"
import type { StartError } from "./StartError.ts"

export interface Door {
  readonly open: Effect.Effect<void, StartError>
  /** Takes nobody new, and is done when everybody inside has been answered; whoever is merely connected is waited for so long. */
  readonly drain: (grace: Duration.Duration) => Effect.Effect<void>
}

export type Phase = "starting" | "running" | "stopping"

export interface ProcessLifecycle {
  readonly phase: Effect.Effect<Phase>
  /** Opened with the others, or at once when they are open. */
  readonly add: (door: Door) => Effect.Effect<void, StartError>
  readonly open: Effect.Effect<void, StartError>
  readonly drain: (grace: Duration.Duration) => Effect.Effect<void>
}

export const makeLifecycle = (first: Phase): ProcessLifecycle => {
  const phase = Ref.makeUnsafe<Phase>(first)
  const doors: Array<Door> = []
  return {
    phase: Ref.get(phase),
    add: Effect.fnUntraced(function* (door) {
      doors.push(door)
      if ((yield* Ref.get(phase)) === "running") yield* door.open
    }),
    open: Effect.andThen(
      Effect.forEach(doors, ({ open }) => open, { discard: true }),
      Ref.set(phase, "running")
    ),
    drain: Effect.fnUntraced(function* (grace) {
      yield* Ref.set(phase, "stopping")
      yield* Effect.forEach(doors, (door) => door.drain(grace), { concurrency: "unbounded", discard: true })
    })
  }
}

export const Lifecycle = Context.Reference<ProcessLifecycle>("@holdfast/process/Lifecycle", {
  defaultValue: () => makeLifecycle("running")
})
