// How tests wait: for something that was named, never for time to pass.
import { Data, Deferred, Duration, Effect, Schedule } from "effect"

export interface Signals {
  /** Whoever waits for this name goes on; whoever asks later does not wait. */
  readonly send: (name: string) => Effect.Effect<void>
  /** How often the name must have been sent. */
  readonly wait: (name: string, times?: number) => Effect.Effect<void>
}

export const makeSignals = Effect.sync((): Signals => {
  const sent = new Map<string, number>()
  const waiting = new Set<{ readonly name: string; readonly times: number; readonly done: Deferred.Deferred<void> }>()
  return {
    send: (name) =>
      Effect.sync(() => {
        const count = (sent.get(name) ?? 0) + 1
        sent.set(name, count)
        for (const one of waiting) {
          if (one.name !== name || one.times > count) continue
          waiting.delete(one)
          Deferred.doneUnsafe(one.done, Effect.void)
        }
      }),
    wait: (name, times = 1) =>
      Effect.suspend(() => {
        if ((sent.get(name) ?? 0) >= times) return Effect.void
        const one = { name, times, done: Deferred.makeUnsafe<void>() }
        waiting.add(one)
        return Effect.onInterrupt(Deferred.await(one.done), () => Effect.sync(() => waiting.delete(one)))
      })
  }
})

export class NeverHappened extends Data.TaggedError("NeverHappened")<{
  readonly what: string
  readonly last: unknown
}> {}

/** For a real server that cannot tell: asks until the answer is right, and says what it was when it never is. */
export const eventually = <A, E, R>(
  what: string,
  ask: Effect.Effect<A, E, R>,
  isRight: (answer: A) => boolean,
  within: Duration.Duration = Duration.seconds(60)
): Effect.Effect<A, E | NeverHappened, R> =>
  Effect.suspend(() => {
    let last: unknown = "no answer"
    return ask.pipe(
      Effect.tap((answer) =>
        Effect.sync(() => {
          last = answer
        })
      ),
      Effect.repeat({ until: isRight, schedule: Schedule.spaced("25 millis") }),
      Effect.timeoutOrElse({ duration: within, orElse: () => Effect.fail(new NeverHappened({ what, last })) })
    )
  })
