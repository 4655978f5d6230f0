// Nothing grows for ever: what reactions remember of events is forgotten once no redelivery can need it.
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Sweep as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Effect } from "effect"

/** Runs `sweep` until it finds nothing more, then again after a while, for ever. */
export const keepSwept = <R>(what: string, sweep: Effect.Effect<number, Unavailable, R>) =>
  keepRunning(
    `sweeping ${what}`,
    Effect.forever(Effect.flatMap(sweep, (count) => (count > 0 ? Effect.yieldNow : Effect.sleep(Limits.interval))))
  )
