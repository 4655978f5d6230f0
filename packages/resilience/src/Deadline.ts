// A deadline that is kept. `Effect.timeout` waits for finalizers and uninterruptible work, and a driver's cancel request to a hung
// server can take seconds; this one answers on time and lets the interrupted work finish in the background.
import { type Cause, type Duration, Effect, Fiber } from "effect"

export const deadline =
  (duration: Duration.Input) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Cause.TimeoutError, R> =>
    Effect.flatMap(Effect.forkDetach(self, { startImmediately: true }), (fiber) =>
      Fiber.join(fiber).pipe(Effect.timeout(duration), Effect.ensuring(Effect.sync(() => fiber.interruptUnsafe())))
    )
