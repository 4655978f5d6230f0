// The disk is really full, really empty again, really read-only.
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { makeSmallDisk } from "../src/SmallDisk.ts"

const sizeBytes = 8 * 1024 * 1024

/** The error's code, or null when it was written. */
const tryToWrite = (path: string, bytes: number) =>
  Effect.promise(() =>
    writeFile(path, Buffer.alloc(bytes, 1), { flush: true }).then(
      () => null,
      (error: NodeJS.ErrnoException) => error.code
    )
  )

describe("a small disk", () => {
  it.live("is full once it was filled, and has room once it was freed", () =>
    Effect.gen(function* () {
      const disk = yield* makeSmallDisk(sizeBytes)
      const file = join(disk.path, "file")
      expect(yield* tryToWrite(file, 4096)).toBeNull()
      yield* disk.fill()
      expect(yield* tryToWrite(join(disk.path, "other"), 1)).toBe("ENOSPC")
      expect(yield* Effect.promise(() => readFile(file))).toHaveLength(4096)
      yield* disk.free
      expect(yield* tryToWrite(join(disk.path, "other"), 4096)).toBeNull()
    })
  )

  it.live("leaves as much room as was asked", () =>
    Effect.gen(function* () {
      const disk = yield* makeSmallDisk(sizeBytes)
      yield* disk.fill(200_000)
      expect(yield* tryToWrite(join(disk.path, "small"), 100_000)).toBeNull()
      expect(yield* tryToWrite(join(disk.path, "large"), 200_000)).toBe("ENOSPC")
    })
  )

  it.live("refuses to be written while it is read-only", () =>
    Effect.gen(function* () {
      const disk = yield* makeSmallDisk(sizeBytes)
      yield* disk.setReadOnly(true)
      expect(yield* tryToWrite(join(disk.path, "file"), 1)).toBe("EROFS")
      yield* disk.setReadOnly(false)
      expect(yield* tryToWrite(join(disk.path, "file"), 1)).toBeNull()
    })
  )

  it.live("leaves nothing behind, and clears what a crashed run left", () =>
    Effect.gen(function* () {
      const abandoned = "/var/tmp/disk-holdfast-99999999-1-0"
      yield* Effect.promise(() => mkdir(join(abandoned, "mounted"), { recursive: true }))
      const scope = yield* Scope.make()
      const { path } = yield* Scope.provide(makeSmallDisk(sizeBytes), scope)
      yield* Scope.close(scope, Exit.void)
      const left = yield* Effect.promise(() => readdir("/var/tmp"))
      expect(left.filter((name) => abandoned.endsWith(name) || path.includes(name))).toEqual([])
    })
  )
})
