// What is found out of files while the core is away: once, and only what needs nobody who is away.
import { describe, expect, it } from "@effect/vitest"
import { RegisterFile } from "@holdfast/contracts/attachment/Commands"
import { CorrelationId, FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { Converter } from "@holdfast/converter/Converter"
import { Pipeline as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Scanner, type Verdict } from "@holdfast/scanner/Scanner"
import { uuid } from "@holdfast/testkit/History"
import { Effect, Layer, Option, Result } from "effect"
import { TestClock } from "effect/testing"
import { makeAhead, run } from "../src/Ahead.ts"
import { type FileInHand, received } from "../src/FileInHand.ts"
import { Journal, type JournalEntry } from "../src/Journal.ts"
import { makePipeline } from "../src/Pipeline.ts"
import { fileWorker } from "../src/Registrar.ts"
import { eicar, quarantined, servicesOf, World, workFolder } from "./PipelineWorld.ts"

const entryOf = (file: JournalEntry["file"]): JournalEntry => ({
  file,
  correlationId: CorrelationId.make(uuid(9)),
  traceparent: null
})

const inHand = (file: JournalEntry["file"]): Effect.Effect<FileInHand> =>
  Effect.orDie(Effect.fromNullishOr(received(entryOf(file))))

const tool = { name: "test", version: "1" }
const clean: Verdict = { _tag: "Clean", tool }
const away = new Unavailable({ dependency: "scanner", reason: "unreachable", retryAfterMs: 1, detail: "away" })

/** A scanner that counts, and may be away. */
const makeScanner = () => {
  const state = { scans: 0, isAway: false }
  const scan = Effect.suspend(() => {
    state.scans++
    return state.isAway ? Effect.fail(away) : Effect.succeed(clean)
  })
  const layer = Layer.merge(
    Layer.succeed(Scanner, { scan: () => scan, tool: Effect.succeed(tool) }),
    Layer.mock(Converter)({})
  )
  return { state, layer }
}

/** Found out, then registered, then handed to the consumer. */
const through = (world: World, bytes: Uint8Array, meanwhile: Effect.Effect<void> = Effect.void) =>
  Effect.gen(function* () {
    const { ahead, consumer } = yield* makePipeline({ workFolder: yield* workFolder })
    const file = yield* quarantined(world, bytes)
    const inTheHand = yield* inHand(file)
    ahead.begin(inTheHand)
    yield* meanwhile
    world.history.issue(fileWorker, RegisterFile.command.make(file))
    yield* consumer.handle(yield* Effect.fromNullishOr(world.history.envelopes.at(-1)))
    return ahead.has(file.fileId)
  }).pipe(Effect.scoped)

describe("looking ahead", () => {
  it.live("finds out what the pipeline then only records, and keeps it no longer", () => {
    const world = new World()
    const { layer, state } = makeScanner()
    return Effect.gen(function* () {
      expect(yield* through(world, Buffer.from("early"))).toBe(false)
      expect(state.scans).toBe(1)
      expect(world.events).toEqual(["FileReceived", "FileIdentified", "FileScanned", "FileConverted", "FileReleased"])
    }).pipe(Effect.provide(servicesOf(world, layer)))
  })

  it.live("finds what is bad, and that is what is recorded", () => {
    const world = new World()
    return Effect.gen(function* () {
      yield* through(world, eicar)
      expect(world.history.envelopes.at(-1)?.event).toMatchObject({ _tag: "FileRejected", reason: "malware" })
    }).pipe(Effect.provide(servicesOf(world)))
  })

  it.live("keeps nothing of a file that has to wait for somebody else too", () => {
    const world = new World()
    const { layer, state } = makeScanner()
    state.isAway = true
    return Effect.gen(function* () {
      expect(yield* Effect.flip(through(world, Buffer.from("later")))).toEqual(away)
      expect(world.events).toEqual(["FileReceived", "FileIdentified"])
      state.isAway = false
      yield* world.run
      expect(world.events.at(-1)).toBe("FileReleased")
    }).pipe(Effect.provide(servicesOf(world, layer)))
  })

  it.effect("begins with what stands in the journal twice in a row, once", () => {
    const begun: Array<FileId> = []
    const waiting = new Set<number>([1, 2])
    const journal = Layer.mock(Journal)({
      list: () => Effect.sync(() => [...waiting].map((n) => FileId.make(uuid(n)))),
      read: (fileId) => Effect.succeed(Option.some(entryOf({ ...facts, fileId })))
    })
    const ahead = {
      has: (fileId: FileId) => begun.includes(fileId),
      begin: ({ attachment }: FileInHand) => void begun.push(attachment.fileId)
    }
    return Effect.gen(function* () {
      yield* Effect.forkScoped(run(ahead))
      yield* TestClock.adjust("1 millis")
      waiting.delete(1)
      waiting.add(3)
      yield* TestClock.adjust(Limits.aheadDelay)
      expect(begun).toEqual([uuid(2)])
      yield* TestClock.adjust(Limits.aheadDelay)
      expect(begun).toEqual([uuid(2), uuid(3)])
    }).pipe(Effect.provide(journal))
  })

  it.effect("forgets the oldest when there are too many", () =>
    Effect.gen(function* () {
      const ahead = yield* makeAhead(() => Effect.succeed({ waits: null }))
      const files = yield* Effect.forEach(Array.from({ length: Limits.aheadMax + 1 }), (_, n) =>
        inHand({ ...facts, fileId: FileId.make(uuid(n)) })
      )
      for (const file of files) ahead.begin(file)
      const [first, second] = files
      expect(first === undefined || ahead.has(first.attachment.fileId)).toBe(false)
      expect(second !== undefined && ahead.has(second.attachment.fileId)).toBe(true)
      expect(yield* Effect.result(second === undefined ? Effect.succeed(null) : ahead.take(second))).toEqual(
        Result.succeed({ waits: null })
      )
    })
  )
})

const facts = {
  fileId: FileId.make(uuid(1)),
  name: "a.txt",
  sizeBytes: 5,
  sha256: Sha256.make("a".repeat(64)),
  declaredType: "text/plain",
  ownerId: PrincipalId.make("ada")
}
