// Events that arrive while a write is under way share the next one: an idle consumer waits for nobody, a busy one pays for one round trip
// instead of many. A batch that dies, rather than finds its target away, is tried again event by event, so that a poison
// event fails by itself.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Views } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Cause, Deferred, Effect, Exit, Queue } from "effect"

interface Waiting {
  readonly envelope: Envelope
  readonly done: Deferred.Deferred<void, Unavailable>
}

type Write<R> = (envelopes: ReadonlyArray<Envelope>) => Effect.Effect<void, Unavailable, R>

/** `handle` of a consumer, folding concurrent calls into calls of `write`. Ends with the scope. */
export const batched = Effect.fnUntraced(function* <R>(write: Write<R>) {
  const queue = yield* Queue.bounded<Waiting>(Views.batchMax)
  yield* Queue.takeBetween(queue, 1, Views.batchMax).pipe(
    Effect.flatMap((batch) => writeBatch(write, batch)),
    Effect.forever,
    Effect.forkScoped
  )
  return (envelope: Envelope): Effect.Effect<void, Unavailable> =>
    Effect.gen(function* () {
      const done = yield* Deferred.make<void, Unavailable>()
      yield* Queue.offer(queue, { envelope, done })
      yield* Deferred.await(done)
    })
})

/** Never fails: whoever waits gets the outcome. */
const writeBatch = Effect.fnUntraced(function* <R>(write: Write<R>, batch: ReadonlyArray<Waiting>) {
  const exit = yield* Effect.exit(write(batch.map(({ envelope }) => envelope)))
  const alone = batch.length > 1 && Exit.isFailure(exit) && Cause.hasDies(exit.cause)
  if (!alone) return yield* Effect.forEach(batch, ({ done }) => Deferred.done(done, exit), { discard: true })
  for (const one of batch) yield* Deferred.done(one.done, yield* Effect.exit(write([one.envelope])))
})
