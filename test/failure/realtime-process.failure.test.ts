// The gateway's process as an operator runs it: it starts while its database is away, keeps its sockets when that is lost, and sends
// everybody elsewhere when it is told to stop.
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "@effect/vitest"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { Principal } from "@holdfast/contracts/Principal"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { createKeySet, issueToken } from "@holdfast/identity/Tokens"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { envelopeOf, streamOf } from "@holdfast/testkit/Envelopes"
import { commitPositioned } from "@holdfast/testkit/EventRows"
import { faultProxy, targetOf } from "@holdfast/testkit/Faults"
import { freshPort } from "@holdfast/testkit/TestServers"
import { Array, DateTime, Duration, Effect, Layer, Redacted } from "effect"
import { WebSocket } from "ws"

const main = join(import.meta.dirname, "../../apps/realtime-gateway/src/main.ts")

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-realtime-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

const start = (environment: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => spawn(process.execPath, [main], { env: { PATH: process.env.PATH ?? "", ...environment } })),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

const until = (child: ChildProcess, text: string): Effect.Effect<void> =>
  Effect.callback((resume) => {
    let output = ""
    child.stderr?.on("data", (data) => process.stderr.write(data))
    child.stdout?.on("data", (data) => {
      output += String(data)
      if (output.includes(text)) resume(Effect.void)
    })
  })

interface Message {
  readonly type: string
  readonly id?: string
  readonly payload?: { readonly feed?: { readonly state: string }; readonly data?: unknown }
}

class Client {
  readonly socket: WebSocket
  readonly heard: globalThis.Array<Message> = []
  #wanted: (() => void) | null = null

  constructor(url: string) {
    this.socket = new WebSocket(url, "graphql-transport-ws")
    this.socket.on("message", (data) => {
      this.heard.push(JSON.parse(String(data)))
      this.#wanted?.()
    })
  }

  say(message: unknown): void {
    this.socket.send(JSON.stringify(message))
  }

  /** Waits until what was heard satisfies. */
  async hears(isEnough: (heard: ReadonlyArray<Message>) => boolean): Promise<void> {
    while (!isEnough(this.heard)) {
      await new Promise<void>((resolve) => {
        this.#wanted = resolve
      })
    }
  }
}

const events = (from: number, to: number) =>
  Array.map(
    Array.range(from, to),
    (position): Envelope => ({
      ...envelopeOf(streamOf("a"), "a", position, position),
      occurredAt: DateTime.makeUnsafe(Date.now())
    })
  )

const world = Effect.gen(function* () {
  const url = yield* migratedDatabase
  const line = yield* faultProxy(targetOf(Redacted.value(url)))
  const dataDir = yield* folder
  const keys = join(dataDir, "keys")
  yield* createKeySet(keys)
  yield* Effect.promise(() => writeFile(join(keys, "download.key"), "k".repeat(40)))
  const principal = Principal.make({ id: PrincipalId.make("agent-1"), role: "agent" })
  const token = yield* issueToken({
    directory: keys,
    principal,
    issuer: "holdfast",
    audience: "holdfast",
    lifetime: Duration.minutes(10)
  })
  const database = yield* Layer.build(ClientPostgres.layer({ url, applicationName: "test" }))
  const port = yield* freshPort
  return {
    line,
    publish: (from: number, to: number) => Effect.provide(commitPositioned(events(from, to)), database),
    authorization: `Bearer ${Redacted.value(token)}`,
    port,
    environment: {
      HOLDFAST_DATABASE_URL: line.through(Redacted.value(url)),
      HOLDFAST_DATA_DIR: dataDir,
      HOLDFAST_REALTIME_PORT: String(port)
    }
  }
})

it.live("starts without its database, keeps its sockets when it is lost, and leaves with advice", () =>
  Effect.scoped(
    Effect.gen(function* () {
      const { authorization, environment, line, port, publish } = yield* world
      yield* line.set({ _tag: "Refuse" })
      const child = yield* start(environment)
      yield* until(child, "is ready")
      const live = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/health/live`))
      expect(live.status).toBe(200)

      const client = new Client(`ws://127.0.0.1:${port}/graphql`)
      const closed = once(client.socket, "close")
      yield* Effect.promise(() => once(client.socket, "open"))
      client.say({ type: "connection_init", payload: { authorization } })
      yield* Effect.promise(() => client.hears((heard) => heard.length > 0))
      expect(client.heard[0]).toEqual({ type: "connection_ack", payload: { feed: { state: "stale" } } })
      const query = "subscription($id: ID!) { ticketChanged(id: $id, after: 0) { position } }"
      client.say({ id: "s", type: "subscribe", payload: { query, variables: { id: streamOf("a") } } })

      yield* line.set({ _tag: "Pass" })
      yield* publish(1, 3)
      const eventsHeard = () => client.heard.filter(({ id, type }) => id === "s" && type === "next")
      yield* Effect.promise(() => client.hears(() => eventsHeard().length === 3))
      client.say({ id: "q", type: "subscribe", payload: { query: "{ me { id } }" } })
      yield* Effect.promise(() => client.hears((heard) => heard.some(({ id }) => id === "q")))
      expect(client.heard.find(({ id }) => id === "q")).toMatchObject({ payload: { data: { me: { id: "agent-1" } } } })

      client.heard.length = 0
      yield* line.set({ _tag: "Refuse" })
      yield* Effect.promise(() =>
        client.hears((heard) => heard.some(({ payload }) => payload?.feed?.state === "stale"))
      )
      expect(client.socket.readyState).toBe(WebSocket.OPEN)
      yield* publish(4, 5)
      yield* line.set({ _tag: "Pass" })
      yield* Effect.promise(() => client.hears(() => eventsHeard().length === 2))

      const stream = yield* Effect.promise(() =>
        fetch(`http://127.0.0.1:${port}/graphql/stream`, {
          method: "POST",
          headers: { accept: "text/event-stream", authorization, "content-type": "application/json" },
          body: JSON.stringify({ query, variables: { id: streamOf("a") } })
        })
      )
      expect(stream.status).toBe(200)

      const exited = once(child, "exit")
      child.kill("SIGTERM")
      const [code, reason] = yield* Effect.promise(() => closed)
      expect([code, String(reason)]).toEqual([1001, expect.stringContaining("RESUME_ELSEWHERE")])
      const streamed = yield* Effect.promise(() => stream.text())
      expect(streamed.match(/^id: \d+$/gm)?.slice(0, 5)).toEqual(Array.range(1, 5).map((id) => `id: ${id}`))
      expect(streamed).toMatch(/\nretry: \d+\n: \{"ended":\{"code":"RESUME_ELSEWHERE","retryAfterMs":\d+\}\}\n\n$/)
      expect(yield* Effect.promise(() => exited)).toEqual([0, null])
    })
  )
)
