// A desk in memory around the real pipeline: real decisions, a real disk, and a crash at any chosen step.
import { createHash } from "node:crypto"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { RegisterFile } from "@holdfast/contracts/attachment/Commands"
import { FileNotReleased } from "@holdfast/contracts/attachment/Refusals"
import { CommandIdReused } from "@holdfast/contracts/CommandErrors"
import { type DeskCommand, definitionOf } from "@holdfast/contracts/Commands"
import { FileId, Position, PrincipalId, Sha256, StreamId, StreamVersion } from "@holdfast/contracts/Ids"
import { TicketNotFound } from "@holdfast/contracts/ticket/Refusals"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import type { Converter } from "@holdfast/converter/Converter"
import * as ConverterProcess from "@holdfast/converter/ConverterProcess"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { EventLog } from "@holdfast/database/EventLog"
import { ReleasedFiles } from "@holdfast/database/ReleasedFiles"
import { Health } from "@holdfast/resilience/Health"
import type { Inspector } from "@holdfast/scanner/Inspector"
import * as InspectorProcess from "@holdfast/scanner/InspectorProcess"
import type { Scanner } from "@holdfast/scanner/Scanner"
import * as ScannerEmbedded from "@holdfast/scanner/ScannerEmbedded"
import { type BlobStore, Quarantine, References, Released, StorageSweep, Withdrawn } from "@holdfast/storage/BlobStore"
import { layerQuarantine, layerReleased } from "@holdfast/storage/BlobStoreDisk"
import { layerSweep } from "@holdfast/storage/DiskSweep"
import { History, uuid } from "@holdfast/testkit/History"
import * as Model from "@holdfast/testkit/ReleasedFilesModel"
import { Context, Deferred, Effect, Layer, Stream } from "effect"
import { makePipeline } from "../src/Pipeline.ts"
import { fileWorker } from "../src/Registrar.ts"
import { lookOnce } from "../src/Rescans.ts"
import { watchOnce } from "../src/Signatures.ts"
import type { OpaquePolicy } from "../src/steps/Scan.ts"

export class World {
  readonly history: History
  readonly #answers = new Map<string, string>()
  #crashed = Deferred.makeUnsafe<void>()
  #steps = 0
  #isRunning = false
  #crashAt: number
  readonly #opaque: OpaquePolicy
  constructor(crashAt = 0, opaque: OpaquePolicy = "reject", startMs?: number) {
    this.history = new History(startMs)
    this.#crashAt = crashAt
    this.#opaque = opaque
  }

  get steps(): number {
    return this.#steps
  }

  /** The chosen step never ends: from then on nobody does anything until the next start. */
  readonly step = Effect.suspend(() => {
    if (!this.#isRunning) return Effect.void
    if (++this.#steps !== this.#crashAt) return Effect.void
    return Effect.andThen(Deferred.succeed(this.#crashed, undefined), Effect.never)
  })

  /** How often it was asked whether what is under way is done. */
  pendingAsked = 0
  /** Where the rescans stand. */
  #cursor = Position.make(0)
  readonly cursors = ConsumerCursors.of({
    read: () => Effect.sync(() => this.#cursor),
    advance: (_, position) =>
      Effect.andThen(
        this.step,
        Effect.sync(() => {
          this.#cursor = position
        })
      )
  })

  readonly files = ReleasedFiles.of({
    rescans: (after, countMax) => this.asked(() => Model.rescansIn(this.history.envelopes, after, countMax)),
    pending: (fileIds) =>
      this.asked(() => {
        this.pendingAsked++
        return Model.pendingIn(this.history.envelopes, fileIds)
      }),
    page: (before, countMax) => this.asked(() => Model.pageIn(this.history.envelopes, before, countMax)),
    giving: (sha256, before) => this.asked(() => Model.givingIn(this.history.envelopes, sha256, before)),
    attachments: (fileId) => this.asked(() => Model.attachmentsIn(this.history.envelopes, fileId))
  })

  asked<A>(answer: () => A): Effect.Effect<A> {
    return Effect.andThen(this.step, Effect.sync(answer))
  }

  readonly bus = CommandBus.of({
    execute: ({ command, meta, principal }) =>
      Effect.gen({ self: this }, function* () {
        yield* this.step
        const asked = JSON.stringify(command)
        const known = this.#answers.get(meta.commandId)
        if (known !== undefined && known !== asked) return yield* new CommandIdReused({ commandId: meta.commandId })
        if (known === undefined) yield* issued(() => this.history.issue(principal, command))
        this.#answers.set(meta.commandId, asked)
        yield* this.step
        const streamId = StreamId.make(streamOf(command) ?? meta.commandId)
        const version = StreamVersion.make(this.history.envelopes.filter((one) => one.streamId === streamId).length)
        return { commandId: meta.commandId, streamId, version, replayed: known !== undefined }
      })
  })

  readonly log = Layer.mock(EventLog)({
    readStream: (streamId) =>
      Effect.sync(() => this.history.envelopes.filter((envelope) => envelope.streamId === streamId))
  })

  /** Everything that is asked for is looked at again, or it crashes. */
  readonly rescan = Effect.suspend(() => this.#untilCrash(lookUntilDone(this.#opaque)))

  /** The signatures are watched once, while somebody looks at what that asks for. */
  readonly watch = (days: number) =>
    Effect.suspend(() =>
      this.#untilCrash(
        Effect.raceFirst(
          watchOnce(days, null),
          Effect.forever(Effect.andThen(lookUntilDone(this.#opaque), Effect.sleep("1 second")))
        )
      )
    )

  #untilCrash<A, E, R>(work: Effect.Effect<A, E, R>) {
    this.#isRunning = true
    const crash = Effect.as(Deferred.await(this.#crashed), "crashed" as const)
    return Effect.raceFirst(work, crash)
  }

  /** Hands every event to a freshly started consumer, from the first on, until there are no more or it crashes. */
  readonly run = Effect.suspend(() => {
    const delivered = Effect.gen({ self: this }, function* () {
      const { consumer } = yield* makePipeline({ workFolder: yield* workFolder, opaque: this.#opaque })
      for (let index = 0; index < this.history.envelopes.length; index++) {
        const envelope = this.history.envelopes[index]
        if (envelope !== undefined && consumer.wants(envelope)) yield* consumer.handle(envelope)
      }
      return "ended" as const
    })
    return Effect.scoped(this.#untilCrash(delivered))
  })

  /** From here on. */
  crashAfter(steps: number): void {
    this.#crashAt = this.#steps + steps
  }

  readonly restart = Effect.sync(() => {
    this.#crashAt = 0
    this.#crashed = Deferred.makeUnsafe<void>()
  })

  get events(): ReadonlyArray<string> {
    return this.history.envelopes.map(({ event }) => event._tag)
  }
}

const lookUntilDone = Effect.fnUntraced(function* (opaque: OpaquePolicy) {
  const timeouts = new Map<string, number>()
  while ((yield* lookOnce({ days: 14, opaque }, timeouts)) > 0);
  return "ended" as const
})

/** What the desk refuses is an answer. */
const issued = (issue: () => unknown) =>
  Effect.try({
    try: issue,
    catch: (error) => {
      if (error instanceof FileNotReleased || error instanceof TicketNotFound) return error
      throw error
    }
  })

const streamOf = (command: DeskCommand): string | null => {
  if ("fileId" in command && definitionOf(command._tag).streamType === "file") return command.fileId
  return "ticketId" in command && command.ticketId !== undefined ? command.ticketId : null
}

export const workFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-pipeline-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const watched = (store: BlobStore, world: World): BlobStore => ({
  put: (sha256, content) =>
    Effect.andThen(
      world.step,
      Effect.tap(store.put(sha256, content), () => world.step)
    ),
  read: (sha256, range) => Stream.unwrap(Effect.as(world.step, store.read(sha256, range))),
  sizeBytes: (sha256) => store.sizeBytes(sha256),
  remove: (sha256) => store.remove(sha256)
})

const around = <A, E, R>(world: World, work: Effect.Effect<A, E, R>) =>
  Effect.andThen(
    world.step,
    Effect.tap(work, () => world.step)
  )

const noted = ({ add, has }: Withdrawn["Service"], world: World): Withdrawn["Service"] => ({
  add: (fileId) => around(world, add(fileId)),
  has
})

const swept = ({ remove, runOnce }: StorageSweep["Service"], world: World): StorageSweep["Service"] => ({
  runOnce,
  remove: (keys) => around(world, remove(keys))
})

export const inspectorIn = (folder?: string) =>
  InspectorProcess.layer(folder === undefined ? {} : { folder }).pipe(Layer.provide(Health.layer))
export const tools: Layer.Layer<Scanner | Converter> = Layer.mergeAll(
  ScannerEmbedded.layer,
  ConverterProcess.layer().pipe(Layer.provide(Health.layer))
)

export const servicesOf = (
  world: World,
  given: Layer.Layer<Scanner | Converter, unknown> = tools,
  inspector: Layer.Layer<Inspector> = inspectorIn()
) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const folder = yield* workFolder
      const quarantine = { root: join(folder, "quarantine"), freeBytesMin: 0 }
      const references = Layer.succeed(References, {
        quarantined: (keys) => Effect.succeed(new Set(keys)),
        released: (keys) => world.asked(() => Model.neededIn(world.history.envelopes, keys))
      })
      const disks = yield* Layer.build(
        Layer.provideMerge(
          Layer.merge(layerQuarantine(quarantine), Layer.provide(layerSweep(quarantine), references)),
          layerReleased({ root: join(folder, "released"), freeBytesMin: 0 })
        ).pipe(Layer.provide(Health.layer))
      )
      return Layer.mergeAll(
        Layer.succeed(Quarantine, watched(Context.get(disks, Quarantine), world)),
        Layer.succeed(Released, watched(Context.get(disks, Released), world)),
        Layer.succeed(Withdrawn, noted(Context.get(disks, Withdrawn), world)),
        Layer.succeed(StorageSweep, swept(Context.get(disks, StorageSweep), world)),
        Layer.succeed(ReleasedFiles, world.files),
        Layer.succeed(ConsumerCursors, world.cursors),
        Layer.succeed(CommandBus, world.bus),
        world.log,
        inspector,
        given
      )
    })
  )

/** As the registrar does, with the content in the quarantine. */
interface Declared {
  readonly name?: string
  readonly type?: string
}

export const receive = (world: World, bytes: Uint8Array, declared: Declared = {}) =>
  Effect.tap(quarantined(world, bytes, declared), (file) =>
    Effect.sync(() => world.history.issue(fileWorker, RegisterFile.command.make(file)))
  )

/** It has arrived, and the core has not heard of it. */
export const quarantined = (world: World, bytes: Uint8Array, declared: Declared = {}) =>
  Effect.gen(function* () {
    const sha256 = Sha256.make(createHash("sha256").update(bytes).digest("hex"))
    const quarantine = yield* Quarantine
    yield* quarantine.put(sha256, Stream.make(bytes))
    return {
      fileId: FileId.make(uuid(1_000_000 + world.history.envelopes.length)),
      name: declared.name ?? "attachment",
      sizeBytes: bytes.length,
      sha256,
      declaredType: declared.type ?? "application/octet-stream",
      ownerId: PrincipalId.make("ada")
    }
  })

/** One pixel. */
export const png = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64"
)
// Kept reversed so that no scanner takes this file for the test string.
export const eicar = Buffer.from(
  [..."*H+H$!ELIF-TSET-SURIVITNA-DRADNATS-RACIE$}7)CC7)^P(45XZP\\4[PA@%P!O5X"].reverse().join("")
)
