import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { folderSentence, freeSpaceSentence, prepareDataFolder } from "../src/supervisor/DataFolder.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-data-"))),
  (root) => Effect.sync(() => rmSync(root, { recursive: true, force: true }))
)

describe("the data folder", () => {
  it.effect("is made with parts that only its owner may enter", () =>
    Effect.gen(function* () {
      const folder = yield* prepareDataFolder(join(yield* temporary, "deep/er"))
      for (const part of [folder.keys, folder.logs, folder.run]) assert.strictEqual(statSync(part).mode & 0o777, 0o700)
    })
  )

  it.effect("is refused in one sentence where a file is in its place", () =>
    Effect.gen(function* () {
      const file = join(yield* temporary, "file")
      writeFileSync(file, "")
      const refusal = yield* Effect.flip(prepareDataFolder(file))
      assert.include(refusal.sentence, `${file} is not a folder`)
    })
  )

  it.each([
    ["ENOSPC", "is full"],
    ["EACCES", "may not write"],
    ["EROFS", "read-only"]
  ])("says what to do about %s", (code, words) => {
    const sentence = folderSentence("/data", Object.assign(new Error(code), { code }))
    assert.include(sentence, words)
    assert.include(sentence, "HOLDFAST_DATA_DIR")
  })

  it("is refused while its disk is nearly full", () => {
    assert.isNull(freeSpaceSentence("/data", 1024 ** 3))
    assert.include(freeSpaceSentence("/data", 3 * 1024 ** 2), "3 MiB free and the desk needs 256 MiB")
  })
})
