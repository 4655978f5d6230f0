// Whatever step a process ends at, and whether the power goes with it or not: what was acknowledged is there, whole; what was not is either
// whole or not there at all; and everything goes on after the next start.
import { describe, expect, it } from "@effect/vitest"
import { Health } from "@holdfast/resilience/Health"
import { Storage } from "@holdfast/resilience/Limits"
import { Deferred, Duration, Effect, Fiber, Layer, Stream } from "effect"
import { BlobNotFound, Intake, Quarantine, References, Released, StorageSweep } from "../src/BlobStore.ts"
import { layerIntake, layerQuarantine, layerReleased } from "../src/BlobStoreDisk.ts"
import { layerSweep } from "../src/DiskSweep.ts"
import { Shelf, sweepUnneeded } from "../src/Unneeded.ts"
import { sha256Of, text } from "./BlobStoreContract.ts"
import { DiskModel } from "./DiskModel.ts"

const nobody = Layer.succeed(References, {
  quarantined: () => Effect.succeed(new Set<never>()),
  released: () => Effect.succeed(new Set<never>())
})

/** A process on the disk that stops for ever before one of its steps. */
const processOn = Effect.fnUntraced(function* (
  disk: DiskModel,
  stopBefore: number,
  meanwhile: (step: string) => Promise<void> = async () => {}
) {
  const stopped = yield* Deferred.make<void>()
  let steps = 0
  const files = disk.files(async (step) => {
    if (++steps < stopBefore) return await meanwhile(step)
    Deferred.doneUnsafe(stopped, Effect.void)
    await new Promise(() => {})
  })
  const quarantine = { root: "/desk/quarantine", freeBytesMin: 0, files }
  const released = layerReleased({ root: "/desk/released", freeBytesMin: 0, files })
  const layers = Layer.mergeAll(
    layerQuarantine(quarantine),
    layerIntake(quarantine),
    Layer.provideMerge(Layer.provide(layerSweep(quarantine), nobody), released)
  ).pipe(Layer.provide(Health.layer))
  const run = <A, E>(body: Effect.Effect<A, E, Quarantine | Intake | Released | Shelf | StorageSweep>) =>
    Effect.gen(function* () {
      const running = yield* Effect.forkDetach(Effect.scoped(Effect.provide(body, layers)), { startImmediately: true })
      // Never interrupted: what would then be cleaned up is what a process that is gone leaves behind.
      const ended = Effect.as(Fiber.join(running), "ended" as const)
      return yield* Effect.raceFirst(ended, Effect.as(Deferred.await(stopped), "stopped" as const))
    })
  return { run, steps: () => steps }
})

const contents = ["first", "second", "taken over"].map((name) => text(`the ${name} content`))
const [first, second, taken] = contents

/** The upload that the intake takes over is flushed by whoever received it. */
const withUpload = Effect.fnUntraced(function* () {
  const disk = new DiskModel()
  const files = disk.files(async () => {})
  yield* Effect.promise(async () => {
    await files.makeFolder("/desk/uploads")
    const file = await files.create("/desk/uploads/one")
    await file.write(taken ?? text(""))
    await file.sync()
    for (const folder of ["/desk/uploads", "/desk", "/"]) await files.syncFolder(folder)
  })
  return disk
})

type Told = (bytes: Uint8Array | undefined, where: "quarantine" | "released") => void

/** Puts, once and again, takes over, and sweeps while nothing is old. */
const story = (tell: Told) =>
  Effect.gen(function* () {
    const quarantine = yield* Quarantine
    const released = yield* Released
    if (first === undefined || second === undefined || taken === undefined) return
    yield* quarantine.put(sha256Of(first), Stream.make(first.subarray(0, 5), first.subarray(5)))
    tell(first, "quarantine")
    yield* (yield* Intake).take("/desk/uploads/one", sha256Of(taken))
    tell(taken, "quarantine")
    yield* released.put(sha256Of(first), quarantine.read(sha256Of(first)).pipe(Stream.orDie))
    tell(first, "released")
    yield* released.put(sha256Of(first), Stream.empty)
    yield* released.put(sha256Of(second), Stream.make(second))
    tell(second, "released")
    yield* (yield* StorageSweep).runOnce
  })

const stored = Effect.fnUntraced(function* (where: "quarantine" | "released", bytes: Uint8Array) {
  const store = where === "quarantine" ? yield* Quarantine : yield* Released
  const chunks = yield* Stream.runCollect(store.read(sha256Of(bytes))).pipe(
    Effect.catchIf(
      (error) => error instanceof BlobNotFound,
      () => Effect.succeed(null)
    )
  )
  return chunks === null ? null : Buffer.concat(chunks).equals(bytes)
})

const counted = Effect.gen(function* () {
  const process = yield* processOn(yield* withUpload(), Number.POSITIVE_INFINITY)
  expect(yield* process.run(story(() => {}))).toBe("ended")
  return process.steps()
})

/** Old content in the quarantine, which arrives again in the very moment in which a sweep takes it away. */
const sweepAtWrongTime = Effect.fnUntraced(function* (stopBefore: number) {
  const disk = yield* withUpload()
  const before = yield* processOn(disk, Number.POSITIVE_INFINITY)
  yield* before.run(story(() => {}))
  disk.nowMs += Duration.toMillis(Storage.quarantineLifetime)
  const others = disk.files(async () => {})
  let isArrived = false
  const process = yield* processOn(disk, stopBefore, async (step) => {
    if (step !== "rename" || isArrived) return
    isArrived = true
    for (const bytes of contents) {
      const key = sha256Of(bytes)
      await others.touch(`/desk/quarantine/${key.slice(0, 2)}/${key}`).catch(() => {})
    }
  })
  yield* process.run(StorageSweep.use((sweep) => sweep.runOnce))
  return { disk, isArrived, steps: process.steps() }
})

const judge = Effect.fnUntraced(function* (disk: DiskModel, acknowledged: ReadonlySet<string>, at: string) {
  const next = yield* processOn(disk, Number.POSITIVE_INFINITY)
  yield* next.run(
    Effect.gen(function* () {
      for (const where of ["quarantine", "released"] as const) {
        for (const bytes of contents) {
          const found = yield* stored(where, bytes)
          // Never damaged: a read that fails otherwise fails the test.
          expect([at, found !== false]).toEqual([at, true])
          if (acknowledged.has(`${where} ${sha256Of(bytes)}`)) expect([at, found]).toEqual([at, true])
        }
      }
      yield* story(() => {})
      disk.nowMs += Duration.toMillis(Storage.quarantineLifetime)
      yield* (yield* StorageSweep).runOnce
      const shelf = yield* Shelf
      for (const bytes of contents)
        yield* sweepUnneeded(shelf, () => Effect.succeed(new Set()), sha256Of(bytes).slice(0, 2))
    })
  )
  expect([at, disk.paths()]).toEqual([at, ["/desk/uploads/one"]])
})

describe.each(["the process ends", "the power goes"] as const)("when %s between any two steps", (how) => {
  it.effect("nothing acknowledged is lost, nothing half is shown, and nothing is left for ever", () =>
    Effect.gen(function* () {
      const steps = yield* counted
      expect(steps).toBeGreaterThan(50)
      for (let stopBefore = 1; stopBefore <= steps; stopBefore++) {
        const disk = yield* withUpload()
        const acknowledged = new Set<string>()
        const process = yield* processOn(disk, stopBefore)
        const tell: Told = (bytes, where) => bytes !== undefined && acknowledged.add(`${where} ${sha256Of(bytes)}`)
        yield* process.run(story(tell))
        // Steps that were let through before the stop are done.
        yield* Effect.promise(() => new Promise(setImmediate))
        if (how === "the power goes") disk.cutPower()
        yield* judge(disk, acknowledged, `step ${stopBefore} of ${steps}`)
      }
    })
  )

  it.effect("of a sweep, content that arrives again is not lost", () =>
    Effect.gen(function* () {
      const { isArrived: isInTime, steps } = yield* sweepAtWrongTime(Number.POSITIVE_INFINITY)
      expect([isInTime, steps > 30]).toEqual([true, true])
      for (let stopBefore = 1; stopBefore <= steps + 1; stopBefore++) {
        const { disk, isArrived } = yield* sweepAtWrongTime(stopBefore)
        yield* Effect.promise(() => new Promise(setImmediate))
        if (how === "the power goes") disk.cutPower()
        const next = yield* processOn(disk, Number.POSITIVE_INFINITY)
        const ended = yield* next.run(
          Effect.gen(function* () {
            yield* (yield* StorageSweep).runOnce
            for (const bytes of [first, taken]) {
              if (bytes === undefined) continue
              const found = yield* stored("quarantine", bytes)
              expect([stopBefore, found]).toEqual([stopBefore, isArrived ? true : null])
            }
          })
        )
        expect(ended).toBe("ended")
      }
    })
  )
})
