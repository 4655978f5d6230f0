// The file pipeline: a chain of named stages driven by the file's own events. The first event that is handed over takes the file through
// all stages that are left, each outcome recorded as an ordinary command under an id that follows from file, stage and retry; so a
// redelivery or a crash anywhere repeats work and never its record, and the event of the last record takes the file up where it was left.
// While a tool is away the file waits, visibly; a stage that keeps failing by itself parks the file. What takes longer than a consumer's
// turn goes on, and the next turn joins it. What follows when a file is withdrawn is driven by that event in the same way.
import { availableParallelism } from "node:os"
import { type Consumer, Poison } from "@holdfast/broker/Consumer"
import { RecordFileStage } from "@holdfast/contracts/attachment/Commands"
import type { FileStage } from "@holdfast/contracts/attachment/Stages"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { type CommandId, type StreamId, StreamVersion } from "@holdfast/contracts/Ids"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import type { Converter } from "@holdfast/converter/Converter"
import { EventLog } from "@holdfast/database/EventLog"
import type { ReleasedFiles } from "@holdfast/database/ReleasedFiles"
import { type Attachment, AttachmentDecider, nextStage } from "@holdfast/domain/attachment/Attachment"
import type { DecisionContext } from "@holdfast/domain/Decider"
import { deriveCommandId } from "@holdfast/domain/DerivedId"
import { Pipeline as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import type { Inspector } from "@holdfast/scanner/Inspector"
import type { Scanner } from "@holdfast/scanner/Scanner"
import type { Quarantine, Released, StorageSweep, Withdrawn } from "@holdfast/storage/BlobStore"
import { ByteSize, Clock, DateTime, Effect, Exit, Fiber, FiberMap, Option, Result, Semaphore } from "effect"
import { attempts } from "./Attempts.ts"
import { type FileInHand, fold } from "./FileInHand.ts"
import { refusalOf } from "./Refusal.ts"
import { fileWorker } from "./Registrar.ts"
import type { StageError, StageResult } from "./Stage.ts"
import { observed } from "./StageMetrics.ts"
import * as Convert from "./steps/Convert.ts"
import * as Identify from "./steps/Identify.ts"
import * as Release from "./steps/Release.ts"
import * as Scan from "./steps/Scan.ts"
import * as Withdraw from "./Withdraw.ts"

export interface PipelineOptions {
  /** Private copies for the converter. */
  readonly workFolder: string
  /** What becomes of encrypted and over-limit content, and of archives that nobody here opens; rejected unless told. */
  readonly opaque?: Scan.OpaquePolicy
}

export type PipelineServices =
  | EventLog
  | ReleasedFiles
  | CommandBus
  | Quarantine
  | Released
  | Withdrawn
  | StorageSweep
  | Inspector
  | Scanner
  | Converter

/** The consumer of the group `files`; its stages run for as long as the scope is open. */
export const makeConsumer = Effect.fnUntraced(function* (options: PipelineOptions) {
  // A file's events come one after the other, so whoever finds its line under way was too early in a former turn.
  const running = yield* FiberMap.make<StreamId, void, Unavailable | Poison>()
  const lanes = yield* makeLanes
  const timeouts = new Map<string, number>()
  const finished = makeFinished()
  const handle: Consumer<PipelineServices>["handle"] = Effect.fnUntraced(function* (envelope) {
    const { event, streamId } = envelope
    if (envelope.streamType !== "file" || ofRescans.has(event._tag) || finished.has(envelope)) return
    const underWay = yield* FiberMap.get(running, streamId)
    if (Option.isSome(underWay)) return yield* joined(underWay.value)
    if (event._tag === "FileWithdrawn") {
      return yield* joined(yield* FiberMap.run(running, streamId, Withdraw.run(envelope, event)))
    }
    const due = yield* dueStage(envelope)
    if (due === null) return
    const line = advance(options, timeouts, envelope, due, lanes).pipe(
      Effect.tap((version) => Effect.sync(() => finished.add(streamId, version))),
      Effect.asVoid
    )
    yield* joined(yield* FiberMap.run(running, streamId, line))
  })
  const consumer: Consumer<PipelineServices> = { group: "files", handle }
  return consumer
})

/** Those that ask for something are seen to by `Rescans.ts`. */
const ofRescans: ReadonlySet<string> = new Set(["FileRescanRequested", "FileRescanned", "FileRescanFailed"])

type Lane = <A, E, R>(stage: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

// Small files have lanes of their own, so that none waits behind a few huge ones. Converting takes a processor; the other stages wait for
// the disk and the scanner nearly all of the time, and none of them waits behind images.
const makeLanes = Effect.gen(function* () {
  const cores = availableParallelism()
  const converting = yield* Semaphore.make(cores)
  const small = yield* Semaphore.make(cores * Limits.smallPerCoreMax)
  const large = yield* Semaphore.make(Math.max(1, Math.floor(cores / 2)))
  const smallBytesMax = ByteSize.toNumberUnsafe(Limits.smallBytesMax)
  return ({ file, stage }: Due): Lane => {
    if (file.attachment.sizeBytes > smallBytesMax) return Semaphore.withPermits(large, 1)
    return Semaphore.withPermits(stage === "convert" ? converting : small, 1)
  }
})

/** Files that went through to their end here lately: the events of that say nothing new, and cost no question to the log. */
const makeFinished = () => {
  const versions = new Map<StreamId, StreamVersion>()
  return {
    has: ({ streamId, streamVersion }: Envelope) => streamVersion <= (versions.get(streamId) ?? 0),
    add: (streamId: StreamId, version: StreamVersion) => {
      versions.set(streamId, version)
      const oldest = versions.size > Limits.finishedMax ? versions.keys().next().value : undefined
      if (oldest !== undefined) versions.delete(oldest)
    }
  }
}

/** Waits for one turn; the line is not interrupted when the turn is over. */
const joined = (line: Fiber.Fiber<void, Unavailable | Poison>) =>
  Fiber.await(line).pipe(
    Effect.timeoutOrElse({
      duration: Limits.turnDeadline,
      orElse: () =>
        Effect.fail(
          new Unavailable({
            dependency: "storage",
            reason: "saturated",
            retryAfterMs: 1_000,
            detail: "its stages are still under way"
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

/** Through every stage that is left, or until somebody else is found to have recorded one; the answer is the last version that is known. */
const advance = Effect.fn("Pipeline.advance")(function* (
  options: PipelineOptions,
  timeouts: Map<string, number>,
  envelope: Envelope,
  first: Due,
  lanes: (due: Due) => Lane
) {
  let version = envelope.streamVersion
  let dueAtMs = DateTime.toEpochMillis(envelope.occurredAt)
  for (let due: Due | null = first; due !== null; ) {
    // The lanes bound the work. What is recorded waits for the database, and nobody's processor.
    const { fileId, sizeBytes } = due.file.attachment
    const stage = attempts({ stage: due.stage, fileId, timeouts }, runStage(options, due))
    const { durationMs, result } = yield* observed({ stage: due.stage, sizeBytes, dueAtMs }, lanes(due), stage)
    const command = commandOf(due, result, durationMs)
    const commandId = deriveCommandId("record-file-stage", command.fileId, due.stage, String(due.file.retries))
    const recorded = yield* record(envelope, command, commandId)
    if (recorded === null) return version
    version = recorded
    dueAtMs = yield* Clock.currentTimeMillis
    due = dueAfter(due, command, { principal: fileWorker, commandId, number: 0 })
  }
  return version
})

type Recording = typeof RecordFileStage.command.Type

const commandOf = ({ file, stage }: Due, { outcome, tool }: StageResult, durationMs: number) =>
  RecordFileStage.command.make({ fileId: file.attachment.fileId, stage, durationMs, outcome, tool })

/** As the core decided it: its events follow from the same state and command. */
const dueAfter = ({ file }: Due, command: Recording, context: DecisionContext): Due | null => {
  const decided = Result.getOrElse(AttachmentDecider.decide(file.attachment, command, context), () => [])
  const attachment = decided.reduce<Attachment | null>(AttachmentDecider.evolve, file.attachment)
  const stage = attachment === null ? null : nextStage(attachment)
  return attachment === null || stage === null ? null : { file: { ...file, attachment }, stage }
}

const runStage = (
  options: PipelineOptions,
  { file, stage }: Due
): Effect.Effect<StageResult, StageError, PipelineServices> => {
  switch (stage) {
    case "identify":
      return Identify.run(file)
    case "scan":
      return Scan.run(file, options.opaque ?? "reject")
    case "convert":
      return Convert.run(file, options.workFolder)
    case "release":
      return Release.run(file)
  }
}

/** Null when it was recorded before, by a run whose answer was lost: its duration differs, and the first record stands. */
const record = Effect.fnUntraced(function* (envelope: Envelope, command: Recording, commandId: CommandId) {
  const bus = yield* CommandBus
  return yield* bus
    .execute({
      principal: fileWorker,
      meta: { commandId, correlationId: envelope.correlationId },
      command,
      causationId: Option.some(envelope.eventId)
    })
    .pipe(
      Effect.map(({ version }) => version),
      Effect.catch((error) =>
        Effect.flatMap(refusalOf(error), ({ refused }) =>
          refused === "CommandIdReused" || refused === "FileStageNotExpected"
            ? Effect.succeed(null)
            : Effect.fail(new Poison({ detail: `recording stage ${command.stage} was refused: ${refused}` }))
        )
      )
    )
})
