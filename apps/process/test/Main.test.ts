// A process from the outside: what it says, how it ends, and its exit code.
import { type ChildProcess, spawn } from "node:child_process"
import { BoundSocket, createServer } from "node:net"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"

const fixture = join(import.meta.dirname, "fixture.ts")

interface Ended {
  readonly code: number | null
  readonly output: string
}

const spawned = (env: Record<string, string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [fixture], { env: { PATH: process.env.PATH ?? "", ...env } })
      const lines: Array<string> = []
      child.stdout.on("data", (chunk) => lines.push(String(chunk)))
      child.stderr.on("data", (chunk) => lines.push(String(chunk)))
      return { child, output: () => lines.join("") }
    }),
    ({ child }) => Effect.sync(() => child.kill("SIGKILL"))
  )

const ended = (child: ChildProcess) =>
  Effect.callback<number | null>((resume) => {
    child.once("close", (code) => resume(Effect.succeed(code)))
  })

const says = (child: ChildProcess, words: string) =>
  Effect.callback<void>((resume) => {
    let heard = ""
    child.stdout?.on("data", (chunk) => {
      heard += String(chunk)
      if (heard.includes(words)) resume(Effect.void)
    })
  })

const freePort = Effect.callback<number>((resume) => {
  const server = createServer()
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
  })
})

const runToEnd = Effect.fnUntraced(function* (env: Record<string, string>) {
  const { child, output } = yield* spawned(env)
  const code = yield* ended(child)
  return { code, output: output() } satisfies Ended
})

describe("starting", () => {
  it.live("a wrong setting is one sentence and exit code 78", () =>
    Effect.gen(function* () {
      const { code, output } = yield* runToEnd({ HOLDFAST_REDIS_URL: "http://:hunter2@cache" })
      expect(output).toBe(
        "fixture: HOLDFAST_REDIS_URL is not valid: expected a URL like redis://:password@host:6379 or rediss://host.\n"
      )
      expect(code).toBe(78)
    })
  )

  it.live("a mistake of ours is told in full, with exit code 1", () =>
    Effect.gen(function* () {
      const { code, output } = yield* runToEnd({ FIXTURE: "broken", HOLDFAST_COMMAND_PORT: String(yield* freePort) })
      expect(output).toContain("a bug of ours")
      expect(code).toBe(1)
    })
  )

  it.live("logs are JSON lines, and the last says what runs where", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const { child, output } = yield* spawned({ HOLDFAST_COMMAND_PORT: String(port) })
      yield* says(child, "is ready")
      const lines = output()
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line))
      expect(lines.at(-1)).toMatchObject({
        level: "INFO",
        process: "fixture",
        message: `fixture is ready at http://127.0.0.1:${port}`
      })
    })
  )

  it.live("a second one on the same port says so and leaves the first alone", () =>
    Effect.gen(function* () {
      const env = { HOLDFAST_COMMAND_PORT: String(yield* freePort) }
      const { child } = yield* spawned(env)
      yield* says(child, "is ready")
      const { code, output } = yield* runToEnd(env)
      expect(output).toContain(
        "is taken by another program: stop that one, or set HOLDFAST_COMMAND_PORT to a free port.\n"
      )
      expect(code).toBe(1)
      expect(child.exitCode).toBeNull()
    })
  )
})

describe("a socket that systemd opened", () => {
  it.live("is the one that the process listens on", () =>
    Effect.gen(function* () {
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => new BoundSocket({ host: "127.0.0.1", port: 0 })),
        (bound) => Effect.sync(() => bound.close())
      )
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          // As systemd does it: the number of the process is known only once it is there.
          spawn("sh", ["-c", 'LISTEN_PID=$$ exec "$0" "$1"', process.execPath, fixture], {
            env: { PATH: process.env.PATH ?? "", LISTEN_FDS: "1", LISTEN_FDNAMES: "http" },
            stdio: ["ignore", "pipe", "inherit", socket.fd()]
          })
        ),
        (one) => Effect.sync(() => one.kill("SIGKILL"))
      )
      yield* says(child, "is ready")
      const { port } = socket.address()
      const answer = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/health/ready`))
      expect(answer.status).toBe(200)
    })
  )
})

describe("stopping", () => {
  it.live.each(["SIGTERM", "SIGINT"] as const)("%s drains and exits with 0", (signal) =>
    Effect.gen(function* () {
      const { child, output } = yield* spawned({ FIXTURE: "slow", HOLDFAST_COMMAND_PORT: String(yield* freePort) })
      yield* says(child, "is ready")
      child.kill(signal)
      expect(yield* ended(child)).toBe(0)
      expect(output()).toContain("draining")
      expect(output()).toContain("fixture has stopped")
    })
  )

  it.live("stops with 0 also while it is still starting", () =>
    Effect.gen(function* () {
      const { child } = yield* spawned({ FIXTURE: "waiting", HOLDFAST_COMMAND_PORT: String(yield* freePort) })
      yield* says(child, "is starting")
      child.kill("SIGTERM")
      expect(yield* ended(child)).toBe(0)
    })
  )
})
