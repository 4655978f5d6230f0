// The watch over one process: killed, hung, deaf, broken from the start, and orphaned.

import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { isRunning, signalOne } from "@holdfast/database/embedded/ProcessTree"
import { Effect, Schedule } from "effect"
import { childPlan } from "../src/supervisor/ChildProcess.ts"
import { type KeptState, keep } from "../src/supervisor/Keeper.ts"
import { pickPrivatePort } from "../src/supervisor/Ports.ts"

const entry = fileURLToPath(new URL("./kept.mjs", import.meta.url))

const kept = (manner = "well") =>
  Effect.gen(function* () {
    const root = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-keeper-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
    const port = yield* pickPrivatePort("127.0.0.1")
    const plan = childPlan({
      ...{ name: "kept", entry, arguments: [String(port), manner], folder: root, environment: process.env },
      ...{ logFile: join(root, "kept.log"), liveUrl: `http://127.0.0.1:${port}/` }
    })
    return yield* Effect.acquireRelease(keep(plan), (keeper) => keeper.stop)
  })

const eventually = (state: Effect.Effect<KeptState>, holds: (state: KeptState) => boolean) =>
  state.pipe(Effect.repeat({ until: holds, schedule: Schedule.spaced("20 millis") }))

const running = (keeper: Effect.Success<ReturnType<typeof kept>>) =>
  Effect.andThen(
    keeper.firstReady,
    Effect.map(keeper.state, ({ pid }) => pid ?? 0)
  )

describe("a kept process", () => {
  it.live("is started again when it is killed", () =>
    Effect.gen(function* () {
      const keeper = yield* kept()
      const first = yield* running(keeper)
      signalOne(first, "SIGKILL")
      const state = yield* eventually(keeper.state, ({ phase, restarts }) => restarts === 1 && phase === "ready")
      assert.notStrictEqual(state.pid, first)
    })
  )

  it.live("is replaced when it hangs", () =>
    Effect.gen(function* () {
      const keeper = yield* kept()
      const first = yield* running(keeper)
      signalOne(first, "SIGSTOP")
      yield* eventually(keeper.state, ({ phase, restarts }) => restarts === 1 && phase === "ready")
      assert.isFalse(isRunning(first))
    })
  )

  it.live.each(["SIGSTOP", "SIGCONT"] as const)("is gone after a stop, having been sent %s and being deaf", (signal) =>
    Effect.gen(function* () {
      const keeper = yield* kept("deaf")
      const pid = yield* running(keeper)
      signalOne(pid, signal)
      yield* keeper.stop
      assert.isFalse(isRunning(pid))
      assert.strictEqual((yield* keeper.state).phase, "stopped")
    })
  )

  it.live("is given up with its own last words when it never starts", () =>
    Effect.gen(function* () {
      const keeper = yield* kept("broken")
      const refusal = yield* Effect.flip(keeper.firstReady)
      assert.include(refusal.sentence, "HOLDFAST_THING is not valid.")
    })
  )

  it.live("stays down while it is held, and comes back when it is released", () =>
    Effect.gen(function* () {
      const keeper = yield* kept()
      const first = yield* running(keeper)
      yield* keeper.hold("a test", (one) => one.kill)
      assert.isFalse(isRunning(first))
      assert.strictEqual((yield* keeper.state).phase, "held")
      yield* keeper.release(() => Effect.void)
      yield* eventually(keeper.state, ({ phase, pid }) => phase === "ready" && pid !== first)
    })
  )

  it.live("ends when whoever started it is killed", () =>
    Effect.gen(function* () {
      const watch = new URL("../src/supervisor/ParentWatch.ts", import.meta.url).href
      const port = yield* pickPrivatePort("127.0.0.1")
      const child = spawn(process.execPath, ["--import", watch, entry, String(port)], {
        stdio: ["ignore", "ignore", "ignore", "pipe"]
      })
      const ended = new Promise((resolve) => child.once("exit", (_code, signal) => resolve(signal)))
      child.stdio[3]?.destroy()
      assert.strictEqual(yield* Effect.promise(() => ended), "SIGTERM")
    })
  )
})
