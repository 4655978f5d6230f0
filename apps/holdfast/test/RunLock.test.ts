import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { acquireRunLock } from "../src/supervisor/RunLock.ts"

const file = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-lock-"))),
  (root) => Effect.sync(() => rmSync(root, { recursive: true, force: true }))
).pipe(Effect.map((root) => join(root, "lock")))

describe("the lock of a data folder", () => {
  it.effect("is had by one at a time", () =>
    Effect.gen(function* () {
      const lock = yield* file
      assert.isTrue(yield* acquireRunLock(lock))
      assert.isFalse(yield* Effect.scoped(acquireRunLock(lock)))
    })
  )

  it.effect("is free again once it was let go", () =>
    Effect.gen(function* () {
      const lock = yield* file
      assert.isTrue(yield* Effect.scoped(acquireRunLock(lock)))
      assert.isTrue(yield* Effect.scoped(acquireRunLock(lock)))
    })
  )
})
