// The pipeline from end to end on a real disk: what is released, what is rejected and why, who waits, who is parked, and that a crash at
// any step ends the same.
import { availableParallelism } from "node:os"
import { describe, expect, it } from "@effect/vitest"
import { RetryFile } from "@holdfast/contracts/attachment/Commands"
import { Converter } from "@holdfast/converter/Converter"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Scanner, type Verdict } from "@holdfast/scanner/Scanner"
import { Quarantine, Released } from "@holdfast/storage/BlobStore"
import { zip } from "@holdfast/testkit/hostile/Archives"
import { pdf } from "@holdfast/testkit/hostile/Documents"
import { Deferred, Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { fold } from "../src/FileInHand.ts"
import { makePipeline } from "../src/Pipeline.ts"
import { fileWorker } from "../src/Registrar.ts"
import { eicar, png, receive, servicesOf, World, workFolder } from "./PipelineWorld.ts"

const stages = 4
const toRelease = ["FileReceived", "FileIdentified", "FileScanned", "FileConverted", "FileReleased"]
const last = (world: World) => world.history.envelopes.at(-1)?.event

const through = (bytes: Uint8Array, declared?: { name?: string; type?: string }) => {
  const world = new World()
  return Effect.gen(function* () {
    const file = yield* receive(world, bytes, declared)
    yield* world.run
    const released = yield* Released
    return { world, file, isReleased: (yield* Effect.option(released.sizeBytes(file.sha256)))._tag === "Some" }
  }).pipe(Effect.provide(servicesOf(world)))
}

describe("the pipeline", () => {
  it.live("releases text as it is", () =>
    Effect.gen(function* () {
      const { isReleased, world } = yield* through(Buffer.from("Dear desk"), { name: "letter.txt", type: "text/plain" })
      expect(world.events).toEqual(toRelease)
      expect(last(world)).toMatchObject({ content: { mediaType: "text/plain", sizeBytes: 9 } })
      expect(isReleased).toBe(true)
    })
  )

  it.live("releases an image's clean copy and thumbnail, never its uploaded bytes", () => {
    const world = new World()
    return Effect.gen(function* () {
      const file = yield* receive(world, png, { name: "dot.png", type: "image/png" })
      yield* world.run
      expect(world.events).toEqual(toRelease)
      const derivatives = fold(world.history.envelopes)?.attachment.derivatives ?? []
      expect(derivatives.map(({ kind, mediaType }) => [kind, mediaType])).toEqual([
        ["original", "image/png"],
        ["thumbnail", "image/webp"]
      ])
      const released = yield* Released
      for (const { sha256, sizeBytes } of derivatives) expect(yield* released.sizeBytes(sha256)).toBe(sizeBytes)
      expect(yield* Effect.flip(released.sizeBytes(file.sha256))).toMatchObject({ _tag: "BlobNotFound" })
    }).pipe(Effect.provide(servicesOf(world)))
  })

  it.live.each([
    ["the test string", eicar, "malware", "scan", {}],
    ["a file without content", Buffer.alloc(0), "empty", "identify", {}],
    ["a PDF that claims to be a PNG", Buffer.from("%PDF-1.7\n"), "type_mismatch", "identify", { type: "image/png" }],
    ["text that claims to be a ZIP", Buffer.from("hello"), "type_mismatch", "identify", { type: "application/zip" }],
    ["half an image", png.subarray(0, 50), "malformed", "convert", { type: "image/png" }],
    ["a program", Buffer.from("\x7fELF\x02\x01\x01".padEnd(64, "\0"), "latin1"), "type_not_allowed", "scan", {}]
  ] as const)("rejects %s", ([, bytes, reason, stage, declared]) =>
    Effect.gen(function* () {
      const { isReleased, world } = yield* through(bytes, declared)
      expect(last(world)).toMatchObject({ _tag: "FileRejected", reason, stage })
      expect(isReleased).toBe(false)
    })
  )

  it.live("lets a file wait while the scanner is away, and goes on when it is back", () => {
    const world = new World()
    let isAway = true
    const away = new Unavailable({ dependency: "scanner", reason: "unreachable", retryAfterMs: 1, detail: "away" })
    const tool = { name: "test", version: "1" }
    const scanner = Layer.succeed(Scanner, {
      scan: ({ content }) =>
        Effect.andThen(
          Stream.runDrain(content),
          Effect.suspend(() => (isAway ? Effect.fail(away) : Effect.succeed({ _tag: "Clean" as const, tool })))
        ),
      tool: Effect.succeed(tool)
    })
    return Effect.gen(function* () {
      yield* receive(world, Buffer.from("patience"))
      expect(yield* Effect.flip(world.run)).toEqual(away)
      expect(yield* Effect.flip(world.run)).toEqual(away)
      expect(world.events).toEqual(["FileReceived", "FileIdentified"])
      isAway = false
      yield* world.run
      expect(world.events).toEqual(toRelease)
    }).pipe(Effect.provide(servicesOf(world, Layer.merge(scanner, noConverter))))
  })

  it.live("parks a file whose stage keeps failing, and takes it up again on request", () => {
    const world = new World()
    let isBroken = true
    const tool = { name: "test", version: "1" }
    const scanner = Layer.succeed(Scanner, {
      scan: () =>
        Effect.suspend(() =>
          isBroken ? Effect.die(new Error("a bug")) : Effect.succeed({ _tag: "Clean" as const, tool })
        ),
      tool: Effect.succeed(tool)
    })
    return Effect.gen(function* () {
      const { fileId } = yield* receive(world, Buffer.from("unlucky"))
      yield* world.run
      expect(world.events).toEqual(["FileReceived", "FileIdentified", "FileParked"])
      isBroken = false
      world.history.issue(fileWorker, RetryFile.command.make({ fileId }))
      yield* world.run
      expect(world.events.slice(-4)).toEqual(["FileRetried", "FileScanned", "FileConverted", "FileReleased"])
    }).pipe(Effect.provide(servicesOf(world, Layer.merge(scanner, noConverter))))
  })

  it.live.each(["scanner", "converter"] as const)(
    "parks a file on which a %s that is up keeps running out of time",
    (dependency) => {
      const world = new World()
      const slow = new Unavailable({ dependency, reason: "timeout", retryAfterMs: 1, detail: "slow" })
      const scanner = Layer.succeed(Scanner, {
        scan: () => Effect.fail(slow),
        tool: Effect.succeed({ name: "test", version: "1" })
      })
      return Effect.gen(function* () {
        yield* receive(world, Buffer.from("heavy"))
        const { consumer } = yield* makePipeline({ workFolder: yield* workFolder })
        const { handle } = consumer
        const newest = Effect.suspend(() =>
          Effect.flatMap(Effect.fromNullishOr(world.history.envelopes.at(-1)), handle)
        )
        expect(yield* Effect.flip(newest)).toEqual(slow)
        expect(yield* Effect.flip(newest)).toEqual(slow)
        yield* newest
        expect(last(world)).toMatchObject({ _tag: "FileParked", stage: "scan" })
      }).pipe(Effect.scoped, Effect.provide(servicesOf(world, Layer.merge(scanner, noConverter))))
    }
  )

  it.effect("lets a stage go on beyond one turn, and joins it in the next", () => {
    const world = new World()
    const started = Deferred.makeUnsafe<void>()
    const verdict = Deferred.makeUnsafe<Verdict>()
    let scans = 0
    const scanner = Layer.succeed(Scanner, {
      scan: () => {
        scans++
        return Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(verdict))
      },
      tool: Effect.succeed({ name: "test", version: "1" })
    })
    return Effect.gen(function* () {
      yield* receive(world, Buffer.from("long"))
      const { consumer } = yield* makePipeline({ workFolder: yield* workFolder })
      const { handle } = consumer
      const received = yield* Effect.fromNullishOr(world.history.envelopes.at(-1))
      const turn = yield* Effect.forkChild(Effect.flip(handle(received)))
      yield* Deferred.await(started)
      yield* TestClock.adjust("8 seconds")
      expect(yield* Fiber.join(turn)).toMatchObject({ _tag: "Unavailable", reason: "saturated" })
      yield* Deferred.succeed(verdict, { _tag: "Clean", tool: { name: "test", version: "1" } })
      yield* handle(received)
      expect([scans, world.events]).toEqual([1, toRelease])
    }).pipe(Effect.scoped, Effect.provide(servicesOf(world, Layer.merge(scanner, noConverter))))
  })

  it.live("lets text pass while every image that may be converted is", () => {
    const world = new World()
    const converting = Deferred.makeUnsafe<void>()
    const converter = Layer.mock(Converter)({
      convert: () => Effect.andThen(Deferred.succeed(converting, undefined), Effect.never)
    })
    const scanner = Layer.succeed(Scanner, {
      scan: () => Effect.succeed({ _tag: "Clean" as const, tool: { name: "test", version: "1" } }),
      tool: Effect.succeed({ name: "test", version: "1" })
    })
    return Effect.gen(function* () {
      const { consumer } = yield* makePipeline({ workFolder: yield* workFolder })
      const { handle } = consumer
      const images = yield* Effect.forEach(Array.from({ length: 3 * availableParallelism() }), () =>
        Effect.andThen(
          receive(world, png, { type: "image/png" }),
          Effect.suspend(() => Effect.fromNullishOr(world.history.envelopes.at(-1)))
        )
      )
      yield* Effect.forEach(images, (image) => Effect.forkScoped(handle(image)))
      yield* Deferred.await(converting)
      yield* receive(world, Buffer.from("quick"), { type: "text/plain" })
      yield* handle(yield* Effect.fromNullishOr(world.history.envelopes.at(-1)))
      expect(last(world)).toMatchObject({ _tag: "FileReleased", content: { sizeBytes: 5 } })
    }).pipe(Effect.scoped, Effect.provide(servicesOf(world, Layer.merge(scanner, converter))))
  })

  it.live("parks a file whose content is gone", () => {
    const world = new World()
    return Effect.gen(function* () {
      const { sha256 } = yield* receive(world, Buffer.from("lost"))
      yield* Quarantine.use((quarantine) => quarantine.remove(sha256))
      yield* world.run
      expect(last(world)).toMatchObject({ _tag: "FileParked", detail: "the content is gone" })
    }).pipe(Effect.provide(servicesOf(world)))
  })

  it.live("does nothing again when its events come again", () => {
    const world = new World()
    return Effect.gen(function* () {
      yield* receive(world, Buffer.from("once"))
      yield* world.run
      const steps = world.steps
      yield* world.run
      expect(world.steps).toBe(steps)
      expect(world.events).toEqual(toRelease)
    }).pipe(Effect.provide(servicesOf(world)))
  })

  it.live.each([
    ["an archive that is encrypted", encrypted, { name: "holdfast-inspect" }],
    ["content that only the scanner finds encrypted", Buffer.from("%FDF-/Encrypt"), { name: "test" }]
  ] as const)("holds %s for a person to judge, when that is the policy", ([, bytes, { name }]) => {
    const world = new World(0, "hold")
    const tool = { name: "test", version: "1" }
    const verdict = { _tag: "Bad", tool, reason: "encrypted", detail: "Heuristics.Encrypted" } as const
    const scanner = Layer.succeed(Scanner, { scan: () => Effect.succeed(verdict), tool: Effect.succeed(tool) })
    return Effect.gen(function* () {
      yield* receive(world, bytes)
      yield* world.run
      expect(last(world)).toMatchObject({
        ...{ _tag: "FileParked", stage: "scan", tool: { name: expect.stringContaining(name) } },
        detail: expect.stringContaining("held for a person to judge")
      })
    }).pipe(Effect.provide(servicesOf(world, Layer.merge(scanner, noConverter))))
  })

  it.live("rejects malware whatever the policy for what cannot be looked into", () => {
    const world = new World(0, "hold")
    return Effect.gen(function* () {
      yield* receive(world, eicar)
      yield* world.run
      expect(last(world)).toMatchObject({ _tag: "FileRejected", reason: "malware" })
    }).pipe(Effect.provide(servicesOf(world)))
  })

  it.live("names every tool in every outcome", () =>
    Effect.gen(function* () {
      const { world } = yield* through(pdf(), { name: "a.pdf", type: "application/pdf" })
      const [, ...outcomes] = world.history.envelopes.map(({ event }) => event)
      expect(outcomes).toMatchObject([
        { _tag: "FileIdentified", tool: { name: "file-type", version: expect.stringContaining("rules") } },
        { _tag: "FileScanned", inspector: { name: expect.stringContaining("inspect") }, tool: { version: "2" } },
        { _tag: "FileConverted", tool: { version: expect.stringContaining("pdftoppm") } },
        { _tag: "FileReleased", tool: { name: "holdfast" } }
      ])
    })
  )

  it.live.each([
    ["text", Buffer.from("bytes")],
    ["what has something inside", zip([{ name: "a.txt", content: Buffer.from("bytes") }])],
    ["text that is recorded stage by stage", Buffer.alloc(9 * 2 ** 20, "bytes ")]
  ] as const)(
    "ends the same whatever step a crash happens at: %s",
    ([, bytes]) =>
      Effect.gen(function* () {
        for (let crashAt = 1; ; crashAt++) {
          const world = new World(crashAt)
          const ended = yield* Effect.gen(function* () {
            yield* receive(world, bytes)
            const first = yield* world.run
            yield* world.restart
            yield* world.run
            return first
          }).pipe(Effect.provide(servicesOf(world)))
          expect([crashAt, ...world.events]).toEqual([crashAt, ...toRelease])
          if (ended === "ended") return expect(crashAt).toBeGreaterThan(2 * stages)
        }
      }),
    180_000
  )
})

const encrypted = zip([{ name: "a", content: Buffer.from("a secret of some length"), isEncrypted: true }])
const noConverter = Layer.mock(Converter)({})
