// The hostile set through the real stages: each file ends where its table says, twice in the same way, with memory and disk bounded and
// nothing of what was rejected among the released.
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "@effect/vitest"
import type { Converter } from "@holdfast/converter/Converter"
import type { Scanner } from "@holdfast/scanner/Scanner"
import { Released } from "@holdfast/storage/BlobStore"
import { type Hostile, hostileSet } from "@holdfast/testkit/hostile/HostileSet"
import { Effect, type Layer } from "effect"
import { inspectorIn, receive, servicesOf, World } from "./PipelineWorld.ts"

/** What is true for this process and its disk at the worst moment. */
const memoryGrowthBytesMax = 768 * 2 ** 20
const diskBytesMax = 3 * 2 ** 30

/** @param isTwice whether each file goes through a second time, to be compared */
export const hostileSuite = (name: string, tools: Layer.Layer<Scanner | Converter, unknown>, isTwice: boolean) =>
  describe(`the hostile set: ${name}`, () => {
    const folder = mkdtempSync(join(tmpdir(), "holdfast-hostile-"))
    const worst = { memoryBytes: 0, diskBytes: 0 }
    const calmBytes = process.memoryUsage.rss()
    const measure = () => {
      worst.memoryBytes = Math.max(worst.memoryBytes, process.memoryUsage.rss() - calmBytes)
      worst.diskBytes = Math.max(worst.diskBytes, sizeOf(folder))
    }
    let timer: NodeJS.Timeout | undefined
    beforeAll(() => {
      timer = setInterval(measure, 20)
    })
    afterAll(() => {
      clearInterval(timer)
      rmSync(folder, { recursive: true, force: true })
    })

    it.live.each(hostileSet.map((hostile) => [hostile.what, hostile] as const))(
      "%s",
      ([, hostile]) =>
        Effect.gen(function* () {
          const bytes = hostile.make()
          const first = yield* through(hostile, bytes, tools, folder)
          expect(first.end).toMatchObject(hostile.end)
          expect(first.isReleased).toBe(hostile.end.state === "released")
          if (isTwice) expect((yield* through(hostile, bytes, tools, folder)).history).toEqual(first.history)
          expect(readdirSync(folder)).toEqual([])
        }),
      180_000
    )

    it("stayed within bounds", () => {
      expect(worst.memoryBytes).toBeLessThan(memoryGrowthBytesMax)
      expect(worst.diskBytes).toBeLessThan(diskBytesMax)
    })
  })

const through = (
  { declaredType, name }: Hostile,
  bytes: Uint8Array,
  tools: Layer.Layer<Scanner | Converter, unknown>,
  folder: string
) => {
  const world = new World()
  return Effect.gen(function* () {
    const file = yield* receive(world, bytes, { name, type: declaredType })
    // What takes longer than a turn goes on, and the next turn joins it.
    yield* Effect.retry(world.run, { while: (error) => error._tag === "Unavailable" && error.reason === "saturated" })
    const released = yield* Released
    const isReleased = (yield* Effect.option(released.sizeBytes(file.sha256)))._tag === "Some"
    return { end: endOf(world), history: world.history.envelopes.map(({ event }) => withoutTime(event)), isReleased }
  }).pipe(Effect.provide(servicesOf(world, tools, inspectorIn(folder))))
}

const endOf = (world: World) => {
  const last = world.history.envelopes.at(-1)?.event
  if (last?._tag === "FileReleased") return { state: "released" }
  return last?._tag === "FileRejected" ? { ...last, state: "rejected" } : { ...last, state: "neither" }
}

/** How long a stage took is the only thing in which two runs may differ. */
const withoutTime = (event: object) => ({ ...event, durationMs: undefined })

const sizeOf = (folder: string): number =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + sizeIfThere(join(entry.parentPath, entry.name)), 0)

const sizeIfThere = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0
