// The line carries real traffic of the real kernel, and what it does to it is what was asked: seen in its own counts, never in a time.

import { readdir } from "node:fs/promises"
import { connect, createServer } from "node:net"
import { text } from "node:stream/consumers"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { type Link, makeLink } from "../src/Link.ts"
import { runProgram } from "../src/Means.ts"
import { eventually } from "../src/Signals.ts"

const downloadBytes = 300_000

/** Sends so many bytes to whoever connects. */
const server = Effect.acquireRelease(
  Effect.promise(async () => {
    const listening = createServer((socket) => {
      socket.on("error", () => {})
      socket.end(Buffer.alloc(downloadBytes, "x"))
    })
    await new Promise<void>((resolve) => listening.listen(0, "0.0.0.0", resolve))
    const address = listening.address()
    return { listening, port: typeof address === "object" && address !== null ? address.port : 0 }
  }),
  ({ listening }) => Effect.promise(() => new Promise((resolve) => listening.close(resolve)))
)

const fetchInside = (link: Link, port: number) =>
  Effect.gen(function* () {
    const program = `
      let bytes = 0
      require("node:net").connect(${port}, "${link.nearAddress}")
        .on("data", (chunk) => { bytes += chunk.length })
        .on("end", () => { process.stdout.write(String(bytes)) })`
    const child = yield* link.spawnInside(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] })
    return Number(yield* Effect.promise(async () => (child.stdout === null ? "" : await text(child.stdout))))
  })

const receive = (host: string, port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    let bytes = 0
    const socket = connect(port, host)
    socket.on("data", (chunk) => {
      bytes += chunk.length
    })
    socket.on("end", () => resolve(bytes))
    socket.on("error", reject)
  })

const namespacesOf = (pid: number) =>
  Effect.promise(() => readdir("/var/run/netns").then((names) => names.filter((name) => name.includes(`-${pid}-`))))

describe("a link", () => {
  it.live("carries TCP whole through loss, bursts, duplicates, overtaking and damage", () =>
    Effect.gen(function* () {
      const bad = { delayMs: 5, jitterMs: 3, loss: 0.01, duplicate: 0.02, reorder: 0.02, corrupt: 0.01 }
      const link = yield* makeLink({ seed: 1, profile: { ...bad, burst: { begin: 0.005, end: 0.5 } } })
      const { port } = yield* server
      expect(yield* fetchInside(link, port)).toBe(downloadBytes)
      const { outward } = yield* link.statistics
      expect(outward.bytes).toBeGreaterThan(downloadBytes)
      expect(outward.lost + outward.lostInBurst).toBeGreaterThan(0)
      expect(outward.offered).toBe(outward.delivered + outward.lost + outward.lostInBurst + outward.overflowed)
    })
  )

  it.live("leads from this side to a published server, across both ends", () =>
    Effect.gen(function* () {
      const link = yield* makeLink({ seed: 2, profile: { bitsPerSecond: 10_000_000, queueBytesMax: 16_384 } })
      const { port } = yield* server
      const { host, port: published } = yield* link.publish({ host: "127.0.0.1", port })
      const response = yield* Effect.promise(() => receive(host, published))
      expect(response).toBe(downloadBytes)
      expect((yield* link.statistics).inward.bytes).toBeGreaterThan(downloadBytes)
    })
  )

  it.live("delivers nothing while it is cut, and everything once it is healed", () =>
    Effect.gen(function* () {
      const link = yield* makeLink({ seed: 3 })
      const { port } = yield* server
      yield* link.cut
      const under = yield* Effect.forkChild(fetchInside(link, port))
      yield* eventually("the line swallows packets", link.statistics, ({ inward }) => inward.cut > 0)
      expect((yield* link.statistics).inward.delivered).toBe(0)
      yield* link.heal
      expect(yield* Fiber.join(under)).toBe(downloadBytes)
    })
  )

  it.live("leaves nothing behind", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const link = yield* Scope.provide(makeLink({ seed: 4 }), scope)
      yield* Scope.provide(link.spawnInside("sleep", ["1000"]), scope)
      expect(yield* namespacesOf(process.pid)).toHaveLength(1)
      yield* Scope.close(scope, Exit.void)
      expect(yield* namespacesOf(process.pid)).toEqual([])
    })
  )

  it.live("clears what a crashed run left", () =>
    Effect.gen(function* () {
      const beyondAllIds = 99_999_999
      yield* runProgram("The test", "ip", ["netns", "add", `holdfast-${beyondAllIds}-1-0`])
      yield* makeLink({ seed: 5 })
      expect(yield* namespacesOf(beyondAllIds)).toEqual([])
    })
  )
})
