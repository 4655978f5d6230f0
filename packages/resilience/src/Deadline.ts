// A deadline that is kept. `Effect.timeout` waits for finalizers and uninterruptible work, and a driver's cancel request to a hung
// server can take seconds; this one answers on time and lets the interrupted work finish in the background. Every call to the
// outside pays for it, so the only fiber beside the work is the timer's.
import { Cause, Duration, Effect } from "effect"

export const deadline =
  (duration: Duration.Input) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Cause.TimeoutError, R> =>
    Effect.flatMap(Effect.forkDetach(self, { startImmediately: true }), (work) =>
      Effect.flatMap(Effect.forkDetach(Effect.sleep(duration), { startImmediately: true }), (timer) =>
        Effect.callback<A, E | Cause.TimeoutError>((resume) => {
          work.addObserver(resume)
          // Told of its interruption as well, which ends every call that is in time: no error is made for that.
          timer.addObserver((exit) =>
            resume(
              Effect.andThen(
                exit,
                Effect.suspend(() => Effect.fail(timedOut(duration)))
              )
            )
          )
          return Effect.void
        }).pipe(
          Effect.ensuring(
            Effect.sync(() => {
              timer.interruptUnsafe()
              work.interruptUnsafe()
            })
          )
        )
      )
    )

const timedOut = (duration: Duration.Input) =>
  new Cause.TimeoutError(`no answer within ${Duration.format(Duration.fromInputUnsafe(duration))}`)
