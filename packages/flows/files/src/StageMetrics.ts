// What an operator sees of the pipeline: how long files wait for their next stage and how long it takes, how stages end and why, and how many are
// queued and under way. Labels are names of ours, never anything a client sent; `lane` is `large` beyond `Pipeline.smallBytesMax`.
import type { FileStage } from "@holdfast/contracts/attachment/Stages"
import { Pipeline } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { ByteSize, Clock, Effect, Metric } from "effect"
import type { StageResult } from "./Stage.ts"

const boundaries = [1, 5, 10, 50, 100, 500, 1000, 5000, 15_000, 60_000, 300_000, 3_600_000]

const waited = Metric.histogram("holdfast_file_stage_wait_ms", {
  description: "From the event that made a stage due to its start, in milliseconds; again for each attempt",
  boundaries
})
const duration = Metric.histogram("holdfast_file_stage_duration_ms", {
  description: "How long a stage took, with its retries, in milliseconds",
  boundaries
})
const outcomes = Metric.counter("holdfast_file_stage_outcomes_total", {
  description: "Stages by how they ended: passed, rejected, parked, or waits while the dependency in `reason` is away",
  incremental: true
})
const queued = Metric.gauge("holdfast_file_stages_queued", { description: "Stages that are due and wait for a place" })
const underWay = Metric.gauge("holdfast_file_stages_under_way", { description: "Stages that run" })

export interface DueStage {
  readonly stage: FileStage
  readonly sizeBytes: number
  readonly dueAtMs: number
}

interface Ran {
  readonly result: StageResult
  readonly durationMs: number
}

type Lane = <A, E, R>(stage: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

// Looked up once per set of labels, of which there are few.
const known = new Map<string, ReturnType<typeof labelled>>()

const labelled = (stage: FileStage, lane: string) => {
  const of = <I, S>(metric: Metric.Metric<I, S>) => Metric.withAttributes(metric, { stage, lane })
  return { waited: of(waited), duration: of(duration), queued: of(queued), underWay: of(underWay) }
}

const metricsOf = ({ sizeBytes, stage }: DueStage) => {
  const lane = sizeBytes > ByteSize.toNumberUnsafe(Pipeline.smallBytesMax) ? "large" : "small"
  const metrics = known.get(`${stage} ${lane}`) ?? labelled(stage, lane)
  known.set(`${stage} ${lane}`, metrics)
  return metrics
}

/** Runs the stage in its lane, and tells of it. */
export const observed = <E, R>(due: DueStage, lane: Lane, stage: Effect.Effect<Ran, E, R>): Effect.Effect<Ran, E, R> =>
  Effect.suspend(() => {
    const metrics = metricsOf(due)
    let isQueued = true
    const leaveQueue = Effect.suspend(() => {
      if (!isQueued) return Effect.void
      isQueued = false
      return Metric.modify(metrics.queued, -1)
    })
    const begin = Effect.gen(function* () {
      yield* leaveQueue
      yield* Metric.update(metrics.waited, Math.max(0, (yield* Clock.currentTimeMillis) - due.dueAtMs))
      yield* Metric.modify(metrics.underWay, 1)
    })
    const running = Effect.acquireUseRelease(
      begin,
      () => stage,
      () => Metric.modify(metrics.underWay, -1)
    )
    return Metric.modify(metrics.queued, 1).pipe(
      Effect.andThen(lane(running)),
      Effect.ensuring(leaveQueue),
      Effect.tap(({ durationMs, result }) =>
        Effect.andThen(Metric.update(metrics.duration, durationMs), counted(due.stage, ...endOf(result)))
      ),
      Effect.tapError((error) =>
        error instanceof Unavailable ? counted(due.stage, "waits", error.dependency) : Effect.void
      )
    )
  })

const endOf = ({ outcome }: StageResult): readonly [outcome: string, reason: string] => {
  if (outcome._tag === "Rejected") return ["rejected", outcome.reason]
  return outcome._tag === "Failed" ? ["parked", "failed"] : ["passed", ""]
}

const counted = (stage: FileStage, outcome: string, reason: string) =>
  Metric.update(Metric.withAttributes(outcomes, { stage, outcome, ...(reason === "" ? {} : { reason }) }), 1)
