// What the stages find of files that the core has not heard of yet. While it is away their content is here, and so are scanner and converter: the
// work is done meanwhile, and when the core is back it only has to be recorded. Kept in memory alone: what is lost with the process is found out
// again.
import type { FileId } from "@holdfast/contracts/Ids"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Pipeline as Limits } from "@holdfast/resilience/Limits"
import { Effect, Exit, Fiber, FiberSet, Option } from "effect"
import { type FileInHand, received } from "./FileInHand.ts"
import { Journal } from "./Journal.ts"

export interface Ahead<Gathered> {
  readonly has: (fileId: FileId) => boolean
  /** Begins to look at a file that is not registered. Beyond `Pipeline.aheadMax` the oldest is forgotten. */
  readonly begin: (file: FileInHand) => void
  /** What was found of a file that nobody has looked at since, once that is known. Given once; null: nothing was, or not all of it. */
  readonly take: (file: FileInHand) => Effect.Effect<Gathered | null>
}

/** `gather` runs for as long as the scope is open, once for a file: where somebody else is away too, the pipeline asks again in its time. */
export const makeAhead = Effect.fnUntraced(function* <Gathered extends { readonly waits: unknown }, R>(
  gather: (file: FileInHand) => Effect.Effect<Gathered, never, R>
) {
  const fork = yield* FiberSet.makeRuntime<R, Gathered>()
  const looks = new Map<FileId, Fiber.Fiber<Gathered>>()
  const found = (exit: Exit.Exit<Gathered>): Gathered | null =>
    Exit.isSuccess(exit) && exit.value.waits === null ? exit.value : null
  const ahead: Ahead<Gathered> = {
    has: (fileId) => looks.has(fileId),
    begin: (file) => {
      looks.set(file.attachment.fileId, fork(gather(file)))
      const oldest = looks.size > Limits.aheadMax ? looks.keys().next().value : undefined
      if (oldest !== undefined) looks.delete(oldest)
    },
    take: ({ attachment: { fileId, state }, retries }) =>
      Effect.suspend(() => {
        const look = state === "received" && retries === 0 ? looks.get(fileId) : undefined
        if (look === undefined) return Effect.succeed(null)
        looks.delete(fileId)
        return Effect.map(Fiber.await(look), found)
      })
  }
  return ahead
})

/** Until interrupted. Whoever is registered at once is nobody's to look at ahead: only what stands in the journal twice in a row is. */
export const run = (ahead: Pick<Ahead<never>, "has" | "begin">) => {
  let before: ReadonlySet<FileId> = new Set()
  const look = Effect.gen(function* () {
    const journal = yield* Journal
    const waiting = yield* journal.list(Limits.aheadMax)
    for (const fileId of waiting.filter((id) => before.has(id) && !ahead.has(id))) {
      const entry = yield* journal.read(fileId)
      const file = Option.isSome(entry) ? received(entry.value) : null
      if (file !== null) ahead.begin(file)
    }
    before = new Set(waiting)
  })
  return keepRunning("looking ahead", Effect.forever(Effect.andThen(look, Effect.sleep(Limits.aheadDelay))))
}
