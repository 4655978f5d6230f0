// Looks at released files again. What is to be looked at stands in the log, so nothing is lost by a crash and nothing is held in memory: one
// leader reads the requests in their order, one file at a time, and rests at least as long as it worked. It has no part in the pipeline's
// lanes and holds none of its turns: however many files are to be looked at, a new one never waits for them. What is found bad is
// withdrawn; what cannot be looked at, for a reason of its own, stays released and its timeline says so.
import { RecordFileRescan, RescanOutcome } from "@holdfast/contracts/attachment/Commands"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { type FileId, StreamId, StreamVersion } from "@holdfast/contracts/Ids"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { EventLog } from "@holdfast/database/EventLog"
import { ReleasedFiles } from "@holdfast/database/ReleasedFiles"
import { deriveCommandId } from "@holdfast/domain/DerivedId"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Rescans as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Scanner } from "@holdfast/scanner/Scanner"
import { Duration, Effect, Metric, Option, Result } from "effect"
import { attempts } from "./Attempts.ts"
import { fold } from "./FileInHand.ts"
import { refusalOf } from "./Refusal.ts"
import { fileWorker } from "./Registrar.ts"
import { watchSignatures } from "./Signatures.ts"
import type { StageResult } from "./Stage.ts"
import * as Scan from "./steps/Scan.ts"

export interface RescanOptions {
  /** Files released so many days ago and less are looked at again when the scanner's signatures change; 0: none is. */
  readonly days: number
  /** As in the pipeline. */
  readonly opaque?: Scan.OpaquePolicy
}

/** Until interrupted; one copy of all leads. */
export const run = (options: RescanOptions) =>
  keepRunning(
    "rescans",
    EventLog.use((log) => log.lead("rescans", leadOnce(options)))
  )

const leadOnce = (options: RescanOptions) =>
  Effect.suspend(() => {
    const timeouts = new Map<string, number>()
    const looking = Effect.flatMap(lookOnce(options, timeouts), (count) =>
      count > 0 ? Effect.void : Effect.sleep(Limits.idleDelay)
    )
    return Effect.raceFirst(
      keepRunning("rescans, looking at files", Effect.forever(looking)),
      keepRunning("rescans, watching the signatures", watchSignatures(options.days))
    )
  })

const group = "rescans"

/**
 * How many requests were seen to. While scanner or database are away it fails at the first; a file whose own content cannot be had just now
 * waits, and the others go on.
 */
export const lookOnce = Effect.fn("Rescans.lookOnce")(function* (
  options: RescanOptions,
  timeouts: Map<string, number>
) {
  const cursors = yield* ConsumerCursors
  const files = yield* ReleasedFiles
  const requests = yield* files.rescans(yield* cursors.read(group), Limits.pageMax)
  let waits: Unavailable | null = null
  for (const { fileId, isPending, position } of requests) {
    if (isPending) {
      const looked: Result.Result<void, Unavailable> = yield* Effect.result(lookAgain(options, timeouts, fileId))
      if (Result.isFailure(looked)) waits ??= yield* unlessOfAll(looked.failure)
    }
    if (waits === null && (isPending || position === requests.at(-1)?.position)) yield* cursors.advance(group, position)
  }
  if (waits !== null) return yield* waits
  return requests.length
})

const unlessOfAll = (error: Unavailable): Effect.Effect<Unavailable, Unavailable> =>
  error.dependency === "storage" || error.dependency === "object-storage" ? Effect.succeed(error) : Effect.fail(error)

const lookAgain = Effect.fn("Rescans.lookAgain")(function* (
  { opaque = "reject" }: RescanOptions,
  timeouts: Map<string, number>,
  fileId: FileId
) {
  const log = yield* EventLog
  const history = yield* log.readStream(StreamId.make(fileId), StreamVersion.make(0))
  const file = fold(history)
  const asked = history.findLast(({ event }) => event._tag === "FileRescanRequested")
  if (file?.attachment.isRescanPending !== true || asked === undefined) return
  // Asked before: should it fail, then with these signatures or older ones.
  const tool = yield* Scanner.use((scanner) => scanner.tool)
  if (timeouts.size > Limits.timeoutsMax) timeouts.clear()
  const { durationMs, result } = yield* attempts({ stage: "rescan", fileId, timeouts }, Scan.again(file, opaque))
  const outcome = outcomeOf(result)
  const facts = { fileId, outcome, tool: outcome._tag === "Failed" ? tool : result.tool, durationMs }
  yield* record(asked, file.rescans, RecordFileRescan.command.make(facts))
  yield* Metric.update(Metric.withAttributes(rescans, { outcome: outcome._tag.toLowerCase() }), 1)
  yield* Effect.sleep(Duration.max(Limits.restMin, Duration.millis(durationMs)))
})

const rescans = Metric.counter("holdfast_file_rescans_total", {
  description: "Released files that were looked at again"
})

const outcomeOf = ({ outcome }: StageResult): RescanOutcome => {
  switch (outcome._tag) {
    case "Clean":
      return RescanOutcome.cases.Clean.make(outcome.inspector === undefined ? {} : { inspector: outcome.inspector })
    case "Rejected":
      return RescanOutcome.cases.Bad.make({ reason: outcome.reason, detail: outcome.detail })
    case "Failed":
      return RescanOutcome.cases.Failed.make({ detail: outcome.detail })
    default:
      throw new Error(`a scan does not end as ${outcome._tag}`)
  }
}

/** Recorded before by a run whose answer was lost, or withdrawn meanwhile: the first record stands. */
const record = Effect.fnUntraced(function* (
  asked: Envelope,
  number: number,
  command: typeof RecordFileRescan.command.Type
) {
  const bus = yield* CommandBus
  const commandId = deriveCommandId("record-file-rescan", command.fileId, String(number))
  yield* bus
    .execute({
      principal: fileWorker,
      meta: { commandId, correlationId: asked.correlationId },
      command,
      causationId: Option.some(asked.eventId)
    })
    .pipe(
      Effect.catch((error) =>
        Effect.flatMap(refusalOf(error), ({ refused }) =>
          refused === "CommandIdReused"
            ? Effect.void
            : Effect.logWarning(`recording the rescan of ${command.fileId} was refused: ${refused}`)
        )
      )
    )
})
