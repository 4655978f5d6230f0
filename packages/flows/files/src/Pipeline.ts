// The file pipeline: a chain of named stages driven by the file's own events. The first event that is handed over takes the file through
// all stages that are left. Their outcomes are recorded by ordinary commands under ids that follow from file, stage and retry; so a
// redelivery or a crash anywhere repeats work and never its record, and the event of the last record takes the file up where it was left.
// What a small file went through before its release is recorded at once (decision 0028); nothing is released before that. What was found out
// about a file before the core heard of it is taken from `Ahead.ts`.
// While a tool is away the file waits, visibly; a stage that keeps failing by itself parks the file. What takes longer than a consumer's
// turn goes on, and the next turn joins it. What follows when a file is withdrawn is driven by that event in the same way.
import { availableParallelism } from "node:os"
import { type Consumer, Poison } from "@holdfast/broker/Consumer"
import { RecordFileStages, type StageReport } from "@holdfast/contracts/attachment/Commands"
import type { FileStage } from "@holdfast/contracts/attachment/Stages"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { type StreamId, StreamVersion } from "@holdfast/contracts/Ids"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { type Converter, conversionOf } from "@holdfast/converter/Converter"
import { EventLog } from "@holdfast/database/EventLog"
import type { ReleasedFiles } from "@holdfast/database/ReleasedFiles"
import { type Attachment, AttachmentDecider, nextStage } from "@holdfast/domain/attachment/Attachment"
import { deriveCommandId } from "@holdfast/domain/DerivedId"
import { Pipeline as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import type { Inspector } from "@holdfast/scanner/Inspector"
import type { Scanner } from "@holdfast/scanner/Scanner"
import type { Quarantine, Released, StorageSweep, Withdrawn } from "@holdfast/storage/BlobStore"
import { type Array, ByteSize, Clock, DateTime, Effect, Exit, Fiber, FiberMap, Option, Result, Semaphore } from "effect"
import { type Ahead, makeAhead } from "./Ahead.ts"
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

/** The consumer of the group `files`, and what is found out ahead of it; what runs for them runs for as long as the scope is open. */
export const makePipeline = Effect.fnUntraced(function* (options: PipelineOptions) {
  // A file's events come one after the other, so whoever finds its line under way was too early in a former turn.
  const running = yield* FiberMap.make<StreamId, void, Unavailable | Poison>()
  const lanes = yield* makeLanes
  const timeouts = new Map<string, number>()
  const finished = makeFinished()
  const gather = (due: Due, dueAtMs: number) => gatherFrom({ options, timeouts, lanes }, due, dueAtMs)
  const ahead = yield* makeAhead((file: FileInHand) =>
    Effect.flatMap(Clock.currentTimeMillis, (nowMs) => gather({ file, stage: "identify" }, nowMs))
  )
  const handle: Consumer<PipelineServices>["handle"] = Effect.fnUntraced(function* (envelope) {
    const { event, streamId } = envelope
    const underWay = yield* FiberMap.get(running, streamId)
    if (Option.isSome(underWay)) return yield* joined(underWay.value)
    if (event._tag === "FileWithdrawn") {
      return yield* joined(yield* FiberMap.run(running, streamId, Withdraw.run(envelope, event)))
    }
    const due = yield* dueStage(envelope)
    if (due === null) return
    const line = advance(gather, ahead, envelope, due).pipe(
      Effect.tap((version) => Effect.sync(() => finished.add(streamId, version))),
      Effect.asVoid
    )
    yield* joined(yield* FiberMap.run(running, streamId, line))
  })
  const wants = (envelope: Envelope) =>
    envelope.streamType === "file" && !ofRescans.has(envelope.event._tag) && !finished.has(envelope)
  const consumer = { group: "files", wants, handle } satisfies Consumer<PipelineServices>
  return { consumer, ahead }
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
  return (due: Due): Lane => {
    if (isLarge(due)) return Semaphore.withPermits(large, 1)
    return Semaphore.withPermits(isConverted(due) ? converting : small, 1)
  }
})

/** Of most files nothing is made, and they wait for none of which something is. */
const isConverted = ({ file: { attachment }, stage }: Due): boolean =>
  stage === "convert" && conversionOf(Scan.mediaTypeOf(attachment)) !== "none"

const isLarge = ({ file }: Due): boolean => file.attachment.sizeBytes > ByteSize.toNumberUnsafe(Limits.smallBytesMax)

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

/** What stages found that is not recorded yet. */
interface Found {
  readonly since: Due
  readonly stages: Array.NonEmptyReadonlyArray<StageReport>
}

/** Of a run of stages up to where something is to be recorded. */
export interface Gathered {
  /** Null: the first stage has to wait. */
  readonly found: Found | null
  /** Why a stage after it has to wait; null: none has. */
  readonly waits: Unavailable | null
  readonly next: Due | null
}

interface Workshop {
  readonly options: PipelineOptions
  readonly timeouts: Map<string, number>
  readonly lanes: (due: Due) => Lane
}

const gatherFrom = Effect.fnUntraced(function* (workshop: Workshop, first: Due, firstDueAtMs: number) {
  const { lanes, options, timeouts } = workshop
  let due = first
  let dueAtMs = firstDueAtMs
  for (let found: Found | null = null; ; ) {
    // The lanes bound the work. What is recorded waits for the database, and nobody's processor.
    const { fileId, sizeBytes } = due.file.attachment
    const stage = attempts({ stage: due.stage, fileId, timeouts }, runStage(options, due))
    const ran = yield* Effect.result(observed({ stage: due.stage, sizeBytes, dueAtMs }, lanes(due), stage))
    if (Result.isFailure(ran)) return { found, waits: ran.failure, next: due } satisfies Gathered
    const report: StageReport = { stage: due.stage, durationMs: ran.success.durationMs, ...ran.success.result }
    found = { since: first, stages: found === null ? [report] : [...found.stages, report] }
    dueAtMs = yield* Clock.currentTimeMillis
    const next = dueAfter({ since: due, stages: [report] })
    if (next === null || next.stage === "release" || isLarge(next))
      return { found, waits: null, next } satisfies Gathered
    due = next
  }
})

/** Through every stage that is left, or until somebody else is found to have recorded one; the answer is the last version that is known. */
const advance = Effect.fn("Pipeline.advance")(function* (
  gather: (due: Due, dueAtMs: number) => Effect.Effect<Gathered, never, PipelineServices>,
  ahead: Ahead<Gathered>,
  envelope: Envelope,
  first: Due
) {
  let version = envelope.streamVersion
  let dueAtMs = DateTime.toEpochMillis(envelope.occurredAt)
  for (let due: Due | null = first; due !== null; ) {
    const { found, next, waits }: Gathered = (yield* ahead.take(due.file)) ?? (yield* gather(due, dueAtMs))
    dueAtMs = yield* Clock.currentTimeMillis
    const recorded: StreamVersion | null = found === null ? version : yield* record(envelope, found)
    // A file that has to wait shows how far it has come.
    if (waits !== null) return yield* waits
    if (recorded === null) return version
    version = recorded
    due = next
  }
  return version
})

const recordingOf = ({ since: { file, stage }, stages }: Found) => {
  const { fileId } = file.attachment
  return {
    command: RecordFileStages.command.make({ fileId, stages }),
    commandId: deriveCommandId("record-file-stages", fileId, stage, String(file.retries))
  }
}

/** As the core decides it: its events follow from the same state and command. */
const dueAfter = (found: Found): Due | null => {
  const { file } = found.since
  const { command, commandId } = recordingOf(found)
  const context = { principal: fileWorker, commandId, number: 0 }
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

/** The version after it. Null when it was recorded before, by a run whose answer was lost: its duration differs, and the first record stands. */
const record = Effect.fnUntraced(function* (envelope: Envelope, found: Found) {
  const bus = yield* CommandBus
  const { command, commandId } = recordingOf(found)
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
            : Effect.fail(new Poison({ detail: `recording stage ${found.since.stage} was refused: ${refused}` }))
        )
      )
    )
})
