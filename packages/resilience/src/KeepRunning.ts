// Background work that must never end in silence. A forked fiber that fails is otherwise unheard of: here each end is logged, typed
// failures in a sentence and defects with their cause, and the work is started again after a pause that grows while it keeps ending
// soon and is short again once it has lasted.
import { Clock, Duration, Effect, Exit, Random, Result } from "effect"
import { KeepRunning as Limits } from "./Limits.ts"
import { Unavailable } from "./Unavailable.ts"

/** Half of what doubles from `min` to `max`, plus as much again by chance, so that many waiters do not come at once. */
export const backoff = (attempt: number, min: Duration.Duration, max: Duration.Duration) =>
  Effect.map(Random.next, (chance) => {
    const full = Math.min(Duration.toMillis(max), Duration.toMillis(min) * 2 ** Math.min(attempt, 30))
    return Duration.millis((full / 2) * (1 + chance))
  })

/** Tried until it is no longer refused as unavailable: for what must be done before anything else may go on. */
export const whileAway = <A, R>(effect: Effect.Effect<A, Unavailable, R>): Effect.Effect<A, never, R> =>
  Effect.gen(function* () {
    for (let attempt = 0; ; attempt++) {
      const result = yield* Effect.result(effect)
      if (Result.isSuccess(result)) return result.success
      yield* Effect.sleep(yield* backoff(attempt, Limits.pauseMin, Limits.pauseMax))
    }
  })

/** Runs `work` for ever, however it ends; only its own interruption stops it. */
export const keepRunning = <A, E, R>(what: string, work: Effect.Effect<A, E, R>): Effect.Effect<never, never, R> =>
  Effect.gen(function* () {
    let soon = 0
    while (true) {
      const began = yield* Clock.currentTimeMillis
      const exit = yield* Effect.exit(work)
      const lastedMs = (yield* Clock.currentTimeMillis) - began
      soon = lastedMs > Duration.toMillis(Limits.pauseMax) ? 0 : soon + 1
      const pause = yield* backoff(soon, Limits.pauseMin, Limits.pauseMax)
      yield* report(what, exit, pause)
      yield* Effect.sleep(pause)
    }
  })

const report = <A, E>(what: string, exit: Exit.Exit<A, E>, pause: Duration.Duration) => {
  const again = `it is started again in ${Math.round(Duration.toMillis(pause))} ms`
  if (Exit.isSuccess(exit)) return Effect.logWarning(`${what} ended; ${again}`)
  const [reason] = exit.cause.reasons
  return reason?._tag === "Fail" && reason.error instanceof Unavailable
    ? Effect.logWarning(
        `${what} broke off: ${reason.error.dependency} ${reason.error.reason}, ${reason.error.detail}; ${again}`
      )
    : Effect.logError(`${what} died; ${again}`, exit.cause)
}
