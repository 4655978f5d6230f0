// Between who publishes a signal and a broker that may be slow or away: a bounded queue whose oldest are dropped, and one fiber that empties it.
// There is no breaker: one attempt at a time, each with its deadline, asks a broker that is away once a second and holds up nobody.
import { deadline } from "@holdfast/resilience/Deadline"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Presence as Limits } from "@holdfast/resilience/Limits"
import { ByteSize, Effect, Queue } from "effect"

const signalBytesMax = ByteSize.toNumberUnsafe(Limits.signalBytesMax)

/** What publishing is: `send` may fail or take its time. */
export const makeWaiting = Effect.fnUntraced(function* <E>(send: (signal: string) => Effect.Effect<void, E>) {
  const waiting = yield* Queue.sliding<string>(Limits.signalsWaitingMax)
  const sendOne = (signal: string) =>
    send(signal).pipe(
      deadline(Limits.publishDeadline),
      Effect.catch((error) => Effect.logDebug("a signal was dropped", error))
    )
  const sendNext = Effect.flatMap(Queue.take(waiting), sendOne)
  // Who stops says goodbye, if the broker takes it.
  const sendRest = Effect.flatMap(Queue.clear(waiting), (rest) => Effect.forEach(rest, sendOne, { discard: true }))
  yield* Effect.addFinalizer(() => Effect.ignore(deadline(Limits.publishDeadline)(sendRest)))
  yield* Effect.forkScoped(keepRunning("sending signals", Effect.forever(sendNext)))
  return (signal: string): Effect.Effect<void> =>
    Buffer.byteLength(signal) > signalBytesMax
      ? Effect.logWarning("a signal is too long and was dropped")
      : Effect.asVoid(Queue.offer(waiting, signal))
})
