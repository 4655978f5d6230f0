// Folds commands that arrive while others are being written into one round trip. With nothing under way a command starts at once, so
// an idle desk adds no latency; under load the batches grow by themselves. Items with the same key are never in two batches at
// once nor twice in one, and go in the order in which they came.
import { type Array, Cause, Effect, FiberSet } from "effect"

export interface BatcherOptions<Item> {
  /** Batches under way at once. */
  readonly lanes: number
  readonly sizeMax: number
  readonly keyOf: (item: Item) => string
  /** Settles each item itself, failures included; gives back those to run again. */
  readonly run: (batch: Array.NonEmptyReadonlyArray<Item>) => Effect.Effect<ReadonlyArray<Item>>
}

export interface Batcher<Item> {
  /** How much may wait is for the caller to bound. */
  readonly submit: (item: Item) => Effect.Effect<void>
}

/** Its lanes end with the scope. */
export const makeBatcher = Effect.fnUntraced(function* <Item>(options: BatcherOptions<Item>) {
  // Lanes run in the context of this constructor: they belong to no caller and no caller's trace.
  const fork = yield* FiberSet.makeRuntime<never>()
  const busy = new Set<string>()
  let waiting: ReadonlyArray<Item> = []
  let lanesIdle = options.lanes

  const take = (): ReadonlyArray<Item> => {
    const batch: Array<Item> = []
    const left: Array<Item> = []
    const passed = new Set<string>()
    for (const item of waiting) {
      const key = options.keyOf(item)
      if (batch.length === options.sizeMax || busy.has(key) || passed.has(key)) {
        left.push(item)
        passed.add(key)
      } else {
        batch.push(item)
        busy.add(key)
      }
    }
    waiting = left
    return batch
  }

  const finish = (batch: ReadonlyArray<Item>, again: ReadonlyArray<Item>) => {
    for (const item of batch) busy.delete(options.keyOf(item))
    waiting = [...again, ...waiting]
  }

  const lane: Effect.Effect<void> = Effect.suspend(() => {
    const [first, ...rest] = take()
    if (first === undefined) {
      lanesIdle++
      return Effect.void
    }
    const batch: Array.NonEmptyReadonlyArray<Item> = [first, ...rest]
    return options.run(batch).pipe(
      Effect.catchCause((cause) =>
        Cause.hasInterrupts(cause)
          ? Effect.failCause(cause)
          : Effect.as(Effect.logError("a batch of commands failed", cause), [])
      ),
      Effect.flatMap((again) => {
        finish(batch, again)
        return lane
      })
    )
  })

  const submit: Batcher<Item>["submit"] = (item) =>
    Effect.sync(() => {
      waiting = [...waiting, item]
      if (lanesIdle === 0) return
      lanesIdle--
      // One turn of the scheduler later, so that what arrives together goes together.
      fork(Effect.andThen(Effect.yieldNow, lane))
    })

  return { submit } satisfies Batcher<Item>
})
