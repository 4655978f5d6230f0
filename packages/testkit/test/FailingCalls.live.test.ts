// A running process is told that its bytes did not reach the disk, and is told the truth again once the fault is over.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import { describe, expect, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { failCalls } from "../src/FailingCalls.ts"

const program = `
  const { openSync, fsync } = require("node:fs")
  const file = openSync(process.execPath, "r")
  process.stdin.on("data", () => fsync(file, (error) => console.log(error === null ? "done" : error.code)))
  console.log("ready")`

/** Flushes whenever it is asked, and says what came of it. */
const flusher = Effect.gen(function* () {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => spawn(process.execPath, ["-e", program])),
    (started: ChildProcessWithoutNullStreams) =>
      Effect.promise(async () => {
        started.kill("SIGKILL")
        await once(started, "exit")
      })
  )
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  yield* Effect.promise(() => lines.next())
  const flush = Effect.promise(async () => {
    child.stdin.write("flush\n")
    return (await lines.next()).value
  })
  return { pid: child.pid ?? 0, flush }
})

describe("a failing disk", () => {
  it.live("fails each flush of every thread until the fault is over", () =>
    Effect.gen(function* () {
      const { flush, pid } = yield* flusher
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { hits } = yield* failCalls({ pids: [pid], fault: { _tag: "Fails", errno: "EIO" } })
          expect(yield* Effect.all([flush, flush])).toEqual(["EIO", "EIO"])
          expect(yield* hits).toBe(2)
        })
      )
      expect(yield* flush).toBe("done")
    })
  )

  it.live("only dawdles when asked to", () =>
    Effect.gen(function* () {
      const { flush, pid } = yield* flusher
      const { hits } = yield* failCalls({ pids: [pid], fault: { _tag: "Late", by: Duration.millis(20) } })
      expect(yield* flush).toBe("done")
      expect(yield* hits).toBe(1)
    })
  )

  it.live("says which process it could not reach", () =>
    Effect.gen(function* () {
      const fault = { _tag: "Fails", errno: "EIO" } as const
      const missing = yield* Effect.flip(failCalls({ pids: [99_999_999], fault }))
      expect(missing.message).toContain("No such process")
    })
  )
})
