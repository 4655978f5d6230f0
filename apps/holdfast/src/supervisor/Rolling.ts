// The rolling restart of a running desk: one copy after the other is replaced, the next one only when the former's successor is ready and
// has taken over; those that leave finish what they have meanwhile. It goes on by itself, whoever asked for it, and stops at the first
// successor that does not become ready: everything else is then as it was.
import { Effect, Fiber, FiberSet, Ref, Schema } from "effect"
import type { RunningChild } from "./ChildProcess.ts"
import type { Replacing } from "./Keeper.ts"
import type { Copy } from "./Processes.ts"

export const StepPhase = Schema.Literals(["waiting", "starting", "leaving", "done", "failed"])

export const RestartProgress = Schema.Struct({
  underWay: Schema.Boolean,
  steps: Schema.Array(Schema.Struct({ name: Schema.String, phase: StepPhase })),
  /** Why it stopped before its end. */
  failure: Schema.NullOr(Schema.String)
})
export type RestartProgress = typeof RestartProgress.Type

export class RestartRefused extends Schema.TaggedError<RestartRefused>()("RestartRefused", {
  sentence: Schema.String
}) {}

export interface Rolling {
  /** Null: every process. */
  readonly begin: (process: string | null) => Effect.Effect<void, RestartRefused>
  readonly progress: Effect.Effect<RestartProgress>
  readonly end: Effect.Effect<void>
}

const nothing: RestartProgress = { underWay: false, steps: [], failure: null }

export const makeRolling = Effect.fnUntraced(function* (copies: ReadonlyArray<Copy>) {
  const progress = yield* Ref.make(nothing)
  const running = yield* Ref.make<Fiber.Fiber<void> | undefined>(undefined)
  const begin = Effect.fnUntraced(function* (process: string | null) {
    if ((yield* Ref.get(progress)).underWay) {
      return yield* new RestartRefused({ sentence: "A restart is under way already: wait for its end." })
    }
    const chosen = copies.filter((one) => process === null || one.process === process || one.name === process)
    if (chosen.length === 0) return yield* new RestartRefused({ sentence: unknown(copies, process) })
    const steps = chosen.map(({ name }) => ({ name, phase: "waiting" as const }))
    yield* Ref.set(progress, { underWay: true, steps, failure: null })
    yield* Ref.set(running, yield* Effect.forkDetach(replaceAll(chosen, progress), { startImmediately: true }))
  })
  const end = Effect.flatMap(Ref.get(running), (fiber) => (fiber === undefined ? Effect.void : Fiber.interrupt(fiber)))
  return { begin, progress: Ref.get(progress), end } satisfies Rolling
})

const unknown = (copies: ReadonlyArray<Copy>, process: string | null): string =>
  `There is no process ${process}: choose among ${[...new Set(copies.map((one) => one.process))].join(", ")}.`

const replaceAll = (chosen: ReadonlyArray<Copy>, progress: Ref.Ref<RestartProgress>) =>
  Effect.gen(function* () {
    const leaving = yield* FiberSet.make<void>()
    const turns = Effect.forEach(chosen, (copy) => replaceOne(copy, progress, leaving), { discard: true })
    yield* Effect.catch(turns, ({ sentence }) => Ref.update(progress, (now) => ({ ...now, failure: sentence })))
    yield* FiberSet.awaitEmpty(leaving)
  }).pipe(
    Effect.scoped,
    Effect.tapCause((cause) => Effect.logError("the rolling restart broke off", cause)),
    Effect.ensuring(Ref.update(progress, (now) => ({ ...now, underWay: false })))
  )

const how: Replacing<RunningChild> = { whyNotReady: (one) => one.whyNotReady, leave: (one) => one.leave }

const replaceOne = Effect.fnUntraced(function* (
  { keeper, name }: Copy,
  progress: Ref.Ref<RestartProgress>,
  leaving: FiberSet.FiberSet<void>
) {
  const enter = (phase: typeof StepPhase.Type) =>
    Ref.update(progress, (now) => ({
      ...now,
      steps: now.steps.map((step) => (step.name === name ? { name, phase } : step))
    }))
  yield* enter("starting")
  const hasLeft = yield* Effect.tapError(keeper.replace(how), () => enter("failed"))
  yield* enter("leaving")
  yield* FiberSet.run(leaving, Effect.andThen(hasLeft, enter("done")))
})
