// The command path as the process that it is: it starts and stays without its database, says so, refuses in plain words, and serves
// again by itself; it stops when told to.
import { type ChildProcess, spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { expect, it } from "@effect/vitest"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { createKeySet, issueToken, publicKeySetFile } from "@holdfast/identity/Tokens"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { freshPort } from "@holdfast/testkit/TestServers"
import { Duration, Effect, Redacted, Schedule } from "effect"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-command-api-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

const running = (environment: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.promise(() => start(environment)),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

const start = async (environment: Readonly<Record<string, string>>): Promise<ChildProcess> => {
  const env = { PATH: process.env.PATH ?? "", ...environment }
  const child = spawn(process.execPath, [main], { env, stdio: ["ignore", "pipe", "pipe"] })
  const ready = Promise.withResolvers<void>()
  let said = ""
  const listen = (chunk: Buffer) => {
    said = `${said}${chunk}`.slice(-20_000)
    if (said.includes("is ready at")) ready.resolve()
  }
  child.stdout.on("data", listen)
  child.stderr.on("data", listen)
  child.once("exit", () => ready.reject(new Error(`command-api ended: ${said}`)))
  await ready.promise
  return child
}

it.live(
  "starts and stays without its database, refuses in plain words, serves again by itself, and stops when told",
  () =>
    Effect.gen(function* () {
      const url = yield* migratedDatabase
      const line = yield* faultProxy(targetOf(Redacted.value(url)))
      yield* line.set({ _tag: "Refuse" })
      const [port, grpcPort, keys] = [yield* freshPort, yield* freshPort, yield* temporaryFolder]
      yield* createKeySet(keys)
      const token = yield* issueToken({
        directory: keys,
        issuer: "holdfast",
        audience: "holdfast",
        principal: { id: PrincipalId.make("agent-1"), role: "agent" },
        lifetime: Duration.minutes(10)
      })
      const child = yield* running({
        HOLDFAST_DATABASE_URL: line.through(Redacted.value(url)),
        HOLDFAST_COMMAND_PORT: String(port),
        HOLDFAST_GRPC_PORT: String(grpcPort),
        HOLDFAST_JWKS: publicKeySetFile(keys)
      })
      const get = (path: string) => Effect.promise(() => fetch(`http://127.0.0.1:${port}${path}`))
      const open = Effect.promise(() =>
        fetch(`http://127.0.0.1:${port}/v1/tickets`, {
          method: "POST",
          headers: { authorization: `Bearer ${Redacted.value(token)}`, "idempotency-key": randomUUID() },
          body: JSON.stringify({ subject: "Printer", body: "It is on fire." })
        })
      )
      const until = (is: (response: Response) => boolean) => (ask: Effect.Effect<Response>) =>
        Effect.repeat(ask, { until: is, schedule: Schedule.spaced(Duration.millis(50)) })

      expect((yield* get("/health/live")).status).toBe(200)
      const refused = yield* open
      expect(refused.status).toBe(503)
      expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0)
      expect(yield* Effect.promise(() => refused.json())).toMatchObject({
        type: "urn:holdfast:problem:WriteUnavailable"
      })
      yield* Effect.andThen(open, get("/health/ready")).pipe(until(({ status }) => status === 503))

      yield* line.set({ _tag: "Pass" })
      yield* get("/health/ready").pipe(until(({ status }) => status === 200))
      expect((yield* until(({ status }) => status === 200)(open)).status).toBe(200)

      child.kill("SIGTERM")
      const [code] = yield* Effect.promise(() => once(child, "exit"))
      expect(code).toBe(0)
    })
)
