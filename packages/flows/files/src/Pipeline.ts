// The file pipeline: a chain of named stages driven by the file's own events. Each event makes the file's next stage run, and its
// outcome is recorded as an ordinary command under an id that follows from file, stage and retry; so a redelivery or a crash anywhere
// repeats work and never its record. While a tool is away the file waits, visibly; a stage that keeps failing by itself parks the file.
// A stage may take longer than a consumer's turn: it goes on, and the next turn joins it.
import { availableParallelism } from "node:os"
import { type Consumer, Poison } from "@holdfast/broker/Consumer"
import { RecordFileStage, StageOutcome } from "@holdfast/contracts/attachment/Commands"
import type { FileEvent } from "@holdfast/contracts/attachment/Events"
import type { FileStage } from "@holdfast/contracts/attachment/Stages"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { StreamVersion } from "@holdfast/contracts/Ids"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import type { Converter } from "@holdfast/converter/Converter"
import { EventLog } from "@holdfast/database/EventLog"
import { type Attachment, AttachmentDecider, nextStage } from "@holdfast/domain/attachment/Attachment"
import { deriveCommandId } from "@holdfast/domain/DerivedId"
import { Pipeline as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Scanner } from "@holdfast/scanner/Scanner"
import type { Quarantine, Released } from "@holdfast/storage/BlobStore"
import { ByteSize, Cause, Clock, Effect, Exit, Fiber, FiberMap, Option, Schedule, Semaphore } from "effect"
import { refusalOf } from "./Refusal.ts"
import { fileWorker } from "./Registrar.ts"
import { type FileInHand, type StageError, StageImpossible, type StageResult } from "./Stage.ts"
import * as Convert from "./steps/Convert.ts"
import * as Identify from "./steps/Identify.ts"
import * as Release from "./steps/Release.ts"
import * as Scan from "./steps/Scan.ts"

export interface PipelineOptions {
  /** Private copies for the converter. */
  readonly workFolder: string
}

export type PipelineServices = EventLog | CommandBus | Quarantine | Released | Scanner | Converter

/** The consumer of the group `files`; its stages run for as long as the scope is open. */
export const makeConsumer = Effect.fnUntraced(function* (options: PipelineOptions) {
  // By file and stage: a stage whose record is known before its own end must not be taken for the next one, which nobody would then run.
  const running = yield* FiberMap.make<string, void, Unavailable | Poison>()
  const lanes = yield* makeLanes
  const timeouts = new Map<string, number>()
  const handle: Consumer<PipelineServices>["handle"] = Effect.fnUntraced(function* (envelope) {
    if (envelope.streamType !== "file") return
    const due = yield* dueStage(envelope)
    if (due === null) return
    const work = advance(options, timeouts, envelope, due, lanes(due.file.attachment.sizeBytes))
    const key = `${envelope.streamId} ${due.stage}`
    const underWay = yield* FiberMap.get(running, key)
    yield* joined(Option.isSome(underWay) ? underWay.value : yield* FiberMap.run(running, key, work))
  })
  const consumer: Consumer<PipelineServices> = { group: "files", handle }
  return consumer
})

type Lane = <A, E, R>(stage: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Small files have a lane of their own, so that none waits behind a few huge ones. */
const makeLanes = Effect.gen(function* () {
  const cores = availableParallelism()
  const small = yield* Semaphore.make(cores)
  const large = yield* Semaphore.make(Math.max(1, Math.floor(cores / 2)))
  const smallBytesMax = ByteSize.toNumberUnsafe(Limits.smallBytesMax)
  return (sizeBytes: number): Lane => Semaphore.withPermits(sizeBytes <= smallBytesMax ? small : large, 1)
})

/** Waits for one turn; the stage is not interrupted when the turn is over. */
const joined = (stage: Fiber.Fiber<void, Unavailable | Poison>) =>
  Fiber.await(stage).pipe(
    Effect.timeoutOrElse({
      duration: Limits.turnDeadline,
      orElse: () =>
        Effect.fail(
          new Unavailable({
            dependency: "storage",
            reason: "saturated",
            retryAfterMs: 1_000,
            detail: "the stage is still under way"
          })
        )
    }),
    Effect.flatMap((exit) => (Exit.isExit(exit) ? exit : Effect.void))
  )

interface Due {
  readonly file: FileInHand
  readonly stage: FileStage
}

/** Null when there is nothing to do, or a later event is there to ask for it. */
const dueStage = Effect.fnUntraced(function* (envelope: Envelope) {
  const log = yield* EventLog
  const history = yield* log.readStream(envelope.streamId, StreamVersion.make(0))
  if ((history.at(-1)?.streamVersion ?? 0) > envelope.streamVersion) return null
  const file = fold(history)
  const stage = file === null ? null : nextStage(file.attachment)
  return file === null || stage === null ? null : ({ file, stage } satisfies Due)
})

/** The file as its events tell it. */
export const fold = (history: ReadonlyArray<Envelope>): FileInHand | null => {
  let attachment: Attachment | null = null
  let name = ""
  let retries = 0
  for (const { event } of history) {
    if (!isFileEvent(event)) continue
    attachment = AttachmentDecider.evolve(attachment, event)
    if (event._tag === "FileReceived") name = event.name
    if (event._tag === "FileRetried") retries++
  }
  return attachment === null ? null : { attachment, name, retries }
}

const fileEvents: ReadonlySet<string> = new Set<FileEvent["_tag"]>([
  "FileReceived",
  "FileIdentified",
  "FileScanned",
  "FileConverted",
  "FileReleased",
  "FileRejected",
  "FileParked",
  "FileRetried"
])
const isFileEvent = (event: Envelope["event"]): event is FileEvent => fileEvents.has(event._tag)

const advance = Effect.fn("Pipeline.advance")(function* (
  options: PipelineOptions,
  timeouts: Map<string, number>,
  envelope: Envelope,
  due: Due,
  lane: Lane
) {
  // The lane bounds the work. What is recorded waits for the database, and nobody's processor.
  const { durationMs, result } = yield* lane(timed(attempts(options, timeouts, due)))
  yield* record(envelope, due, result, durationMs)
})

const timed = <E, R>(stage: Effect.Effect<StageResult, E, R>) =>
  Effect.gen(function* () {
    const startedAtMs = yield* Clock.currentTimeMillis
    const result = yield* stage
    return { result, durationMs: Math.max(0, (yield* Clock.currentTimeMillis) - startedAtMs) }
  })

/** Ends with a result, or with `Unavailable` when somebody else is away. */
const attempts = (options: PipelineOptions, timeouts: Map<string, number>, due: Due) =>
  runStage(options, due).pipe(
    Effect.catchTag("Unavailable", (error) => unlessTheFile(timeouts, due, error)),
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
        ? Effect.as(Effect.logError(`stage ${due.stage} failed`, cause), failed("the stage failed; the log says why"))
        : Effect.failCause(cause)
    )
  )

const failed = (detail: string): StageResult => ({
  outcome: StageOutcome.cases.Failed.make({ detail }),
  tool: { name: "holdfast", version: "1" }
})

const runStage = (
  options: PipelineOptions,
  { file, stage }: Due
): Effect.Effect<StageResult, StageError, PipelineServices> => {
  switch (stage) {
    case "identify":
      return Identify.run(file)
    case "scan":
      return Scan.run(file)
    case "convert":
      return Convert.run(file, options.workFolder)
    case "release":
      return Release.run(file)
  }
}

/** A scanner that runs out of time on one file while it answers otherwise is not away: after some times it is the file that is parked. */
const unlessTheFile = Effect.fnUntraced(function* (
  timeouts: Map<string, number>,
  { file, stage }: Due,
  error: Unavailable
) {
  if (error.dependency !== "scanner" || error.reason !== "timeout") return yield* error
  const scanner = yield* Scanner
  if (Option.isNone(yield* Effect.option(scanner.tool))) return yield* error
  const key = `${file.attachment.fileId} ${stage}`
  const count = (timeouts.get(key) ?? 0) + 1
  timeouts.set(key, count)
  if (count < Limits.stageTimeoutsMax) return yield* error
  timeouts.delete(key)
  return yield* new StageImpossible({ detail: "the scanner runs out of time on this file" })
})

const record = Effect.fnUntraced(function* (
  envelope: Envelope,
  { file, stage }: Due,
  result: StageResult,
  durationMs: number
) {
  const bus = yield* CommandBus
  const { fileId } = file.attachment
  const commandId = deriveCommandId("record-file-stage", fileId, stage, String(file.retries))
  yield* bus
    .execute({
      principal: fileWorker,
      meta: { commandId, correlationId: envelope.correlationId },
      command: RecordFileStage.command.make({ fileId, stage, durationMs, outcome: result.outcome, tool: result.tool }),
      causationId: Option.some(envelope.eventId)
    })
    .pipe(
      Effect.asVoid,
      Effect.catch((error) =>
        Effect.flatMap(refusalOf(error), ({ refused }) =>
          // Recorded before, by a run whose answer was lost: its duration differs, and the first record stands.
          refused === "CommandIdReused" || refused === "FileStageNotExpected"
            ? Effect.void
            : Effect.fail(new Poison({ detail: `recording stage ${stage} was refused: ${refused}` }))
        )
      )
    )
})
