// The watch over one process: killed, hung, deaf, broken from the start or later, replaced, and orphaned. Whatever happens to it, a client
// is only ever made to wait.

import { spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { BoundSocket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { isRunning, signalOne } from "@holdfast/database/embedded/ProcessTree"
import { Effect, Schedule } from "effect"
import { childPlan, type RunningChild } from "../src/supervisor/ChildProcess.ts"
import { type KeptState, keep, type Replacing } from "../src/supervisor/Keeper.ts"

const entry = fileURLToPath(new URL("./kept.mjs", import.meta.url))

const kept = (manner = "well") =>
  Effect.gen(function* () {
    const root = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-keeper-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => new BoundSocket({ host: "127.0.0.1", port: 0 })),
      (bound) => Effect.sync(() => bound.close())
    )
    const plan = childPlan({
      ...{ name: "kept", entry, arguments: [manner, join(root, "marker")], folder: root, environment: process.env },
      ...{ logFile: join(root, "kept.log"), sockets: [{ name: "http", fd: socket.fd() }], place: null, nodeFlags: [] }
    })
    const keeper = yield* Effect.acquireRelease(keep(plan), ({ stop }) => stop)
    return { ...keeper, url: `http://127.0.0.1:${socket.address().port}/`, marker: join(root, "marker") }
  })

/** By a connection of its own; the answer is who answered. */
const ask = (url: string) =>
  Effect.promise(async () => Number(await (await fetch(url, { headers: { connection: "close" } })).text()))

const calmly: Replacing<RunningChild> = { whyNotReady: (one) => one.whyNotReady, leave: (one) => one.leave }

const eventually = (state: Effect.Effect<KeptState>, holds: (state: KeptState) => boolean) =>
  state.pipe(Effect.repeat({ until: holds, schedule: Schedule.spaced("20 millis") }))

const soon = (holds: () => boolean) =>
  Effect.sync(holds).pipe(Effect.repeat({ until: (yes) => yes, schedule: Schedule.spaced("5 millis") }))

const isStopped = (pid: number) => readFileSync(`/proc/${pid}/stat`, "utf8").includes(") T ")

const running = (keeper: Effect.Success<ReturnType<typeof kept>>) =>
  Effect.andThen(
    keeper.firstReady,
    Effect.map(keeper.state, ({ pid }) => pid ?? 0)
  )

describe.concurrent("a kept process", () => {
  it.live("is started again when it is killed", () =>
    Effect.gen(function* () {
      const keeper = yield* kept()
      const first = yield* running(keeper)
      signalOne(first, "SIGKILL")
      const state = yield* eventually(keeper.state, ({ phase, restarts }) => restarts === 1 && phase === "ready")
      assert.notStrictEqual(state.pid, first)
    })
  )

  it.live("refuses nobody while it is away: who comes then waits for the next", () =>
    Effect.gen(function* () {
      const keeper = yield* kept()
      const first = yield* running(keeper)
      assert.strictEqual(yield* ask(keeper.url), first)
      signalOne(first, "SIGKILL")
      yield* soon(() => !isRunning(first))
      assert.notStrictEqual(yield* ask(keeper.url), first)
    })
  )

  it.live("is replaced by one that is ready, and only then goes", () =>
    Effect.gen(function* () {
      const keeper = yield* kept()
      const first = yield* running(keeper)
      const hasLeft = yield* keeper.replace(calmly)
      assert.isTrue((yield* ask(keeper.url)) > 0)
      yield* hasLeft
      assert.isFalse(isRunning(first))
      const { phase, pid, restarts } = yield* keeper.state
      assert.deepStrictEqual([phase, restarts, pid === first], ["ready", 0, false])
      assert.strictEqual(yield* ask(keeper.url), pid)
      signalOne(pid ?? 0, "SIGKILL")
      yield* eventually(keeper.state, (state) => state.restarts === 1 && state.phase === "ready")
    })
  )

  it.live("stays when its successor does not start", () =>
    Effect.gen(function* () {
      const keeper = yield* kept("once")
      const first = yield* running(keeper)
      const { sentence } = yield* Effect.flip(keeper.replace(calmly))
      assert.include(sentence, "it ended with exit code 78")
      assert.include(sentence, "HOLDFAST_THING is not valid.")
      const { phase, pid } = yield* keeper.state
      assert.deepStrictEqual([phase, pid], ["ready", first])
      assert.strictEqual(yield* ask(keeper.url), first)
    })
  )

  it.live("is tried again and again with its last words when it does not start any more", () =>
    Effect.gen(function* () {
      const keeper = yield* kept("once")
      signalOne(yield* running(keeper), "SIGKILL")
      const { detail } = yield* eventually(keeper.state, ({ restarts }) => restarts >= 3)
      assert.strictEqual(detail, "it ended with exit code 78; its last words: HOLDFAST_THING is not valid.")
    })
  )

  it.live("is replaced when it hangs, stopped or busy for ever, and who waits meanwhile is answered by the next", () =>
    Effect.gen(function* () {
      const keepers = yield* Effect.all([kept(), kept("busy")], { concurrency: 2 })
      const hung = keepers.map(
        Effect.fnUntraced(function* (keeper, index) {
          const first = yield* running(keeper)
          signalOne(first, index === 0 ? "SIGSTOP" : "SIGUSR2")
          // A signal takes its time: whom the process takes in before it hangs, it takes with it.
          yield* soon(() => (index === 0 ? isStopped(first) : existsSync(keeper.marker)))
          const second = yield* ask(keeper.url)
          assert.isFalse(isRunning(first))
          const { detail, pid } = yield* keeper.state
          assert.deepStrictEqual([detail, pid], ["it hung: it was running and did not answer", second])
        })
      )
      yield* Effect.all(hung, { concurrency: 2 })
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
      const child = spawn(process.execPath, ["--import", watch, "--eval", "setInterval(() => undefined, 1000)"], {
        stdio: ["ignore", "ignore", "ignore", "pipe"]
      })
      const ended = new Promise((resolve) => child.once("exit", (_code, signal) => resolve(signal)))
      child.stdio[3]?.destroy()
      assert.strictEqual(yield* Effect.promise(() => ended), "SIGTERM")
    })
  )
})
