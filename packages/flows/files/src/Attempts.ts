// Running a stage on one file until there is something to record: its result, or that it cannot be done with this file. While somebody else is
// away there is neither, and the file waits.
import { StageOutcome } from "@holdfast/contracts/attachment/Commands"
import type { TimelineStage } from "@holdfast/contracts/attachment/Stages"
import type { FileId } from "@holdfast/contracts/Ids"
import { Pipeline as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Scanner } from "@holdfast/scanner/Scanner"
import { Cause, Clock, Effect, Option, Schedule } from "effect"
import { type StageError, StageImpossible, type StageResult } from "./Stage.ts"

export interface Attempted {
  readonly stage: TimelineStage
  readonly fileId: FileId
  /** How often the scanner, or a child process, ran out of time, by file and stage. */
  readonly timeouts: Map<string, number>
}

/** Ends with a result, or with `Unavailable` when somebody else is away. */
export const attempts = <R>(attempted: Attempted, run: Effect.Effect<StageResult, StageError, R>) =>
  timed(
    run.pipe(
      Effect.catchTag("Unavailable", (error) => unlessTheFile(attempted, error)),
      Effect.catchTags({
        BlobNotFound: () => Effect.fail(new StageImpossible({ detail: "the content is gone" })),
        BlobCorrupt: () => Effect.fail(new StageImpossible({ detail: "the content is damaged" }))
      }),
      Effect.catchTag("StageImpossible", ({ detail }) => Effect.succeed(failed(detail))),
      Effect.sandbox,
      Effect.retry({
        while: Cause.hasDies,
        schedule: Schedule.exponential(Limits.stageBackoff).pipe(Schedule.upTo({ times: Limits.stageAttemptsMax - 1 }))
      }),
      Effect.catch((cause) =>
        Cause.hasDies(cause)
          ? Effect.as(
              Effect.logError(`stage ${attempted.stage} failed`, cause),
              failed("the stage failed; the log says why")
            )
          : Effect.failCause(cause)
      )
    )
  )

const timed = <E, R>(stage: Effect.Effect<StageResult, E, R>) =>
  Effect.gen(function* () {
    const startedAtMs = yield* Clock.currentTimeMillis
    const result = yield* stage
    return { result, durationMs: Math.max(0, (yield* Clock.currentTimeMillis) - startedAtMs) }
  })

const failed = (detail: string): StageResult => ({
  outcome: StageOutcome.cases.Failed.make({ detail }),
  tool: { name: "holdfast", version: "1" }
})

/** Who runs out of time on one file while it answers otherwise is not away: after some times it is the file that is given up, for a person to judge. */
const unlessTheFile = Effect.fnUntraced(function* ({ fileId, stage, timeouts }: Attempted, error: Unavailable) {
  const { dependency, reason } = error
  if (reason !== "timeout" || (dependency !== "scanner" && dependency !== "converter")) return yield* error
  const scanner = yield* Scanner
  if (dependency === "scanner" && Option.isNone(yield* Effect.option(scanner.tool))) return yield* error
  const key = `${fileId} ${stage}`
  const count = (timeouts.get(key) ?? 0) + 1
  timeouts.set(key, count)
  if (count < Limits.stageTimeoutsMax) return yield* error
  timeouts.delete(key)
  return yield* new StageImpossible({ detail: `the ${dependency} runs out of time on this file` })
})
