// How many connections a busy process takes, over a real socket whose queue fills while it is busy.
import { spawn } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { BoundSocket, connect, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "@effect/vitest"
import { Effect, Schema } from "effect"

const entry = fileURLToPath(new URL("./busy.ts", import.meta.url))
const Told = Schema.fromJsonString(Schema.Struct({ turns: Schema.Array(Schema.Number), open: Schema.Number }))

/** What a process tells that holds the socket so many times and finds so many connections waiting. */
const taken = (descriptors: number, waiting: number) =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-busy-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true }))
    )
    const socket = new BoundSocket({ host: "127.0.0.1", port: 0 })
    const { port } = socket.address()
    const inherited = Array.from({ length: descriptors }, () => socket.fd())
    const names = inherited.map((_, index) => String(index + 3))
    const marker = join(folder, "marker")
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [entry, marker, ...names], { stdio: ["ignore", "pipe", "inherit", ...inherited] })
      ),
      (one) => Effect.sync(() => one.kill("SIGKILL"))
    )
    socket.close()
    const clients: Array<Socket> = []
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const client of clients) client.destroy()
      })
    )
    const lines = createInterface({ input: child.stdout ?? Readable.from([]) })[Symbol.asyncIterator]()
    return yield* Effect.promise(async () => {
      await lines.next()
      clients.push(...(await Promise.all(Array.from({ length: waiting }, () => connected(port)))))
      await writeFile(marker, "")
      return Schema.decodeUnknownSync(Told)((await lines.next()).value)
    })
  }).pipe(Effect.scoped)

const connected = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const client = connect(port, "127.0.0.1", () => resolve(client)).on("error", reject)
  })

describe("a busy process", () => {
  it.live("takes one connection in each turn of a socket that it holds once", () =>
    Effect.gen(function* () {
      const { turns } = yield* taken(1, 32)
      expect(turns.filter((count) => count > 0)).toEqual(Array.from({ length: 32 }, () => 1))
    })
  )

  it.live("takes as many as it holds descriptors of the socket", () =>
    Effect.gen(function* () {
      const { turns } = yield* taken(16, 32)
      expect(turns.filter((count) => count > 0)).toEqual([16, 16])
    })
  )

  it.live("ends what is beyond its bound, whichever listener took it", () =>
    Effect.gen(function* () {
      const { open, turns } = yield* taken(16, 48)
      expect(turns.reduce((sum, count) => sum + count, 0)).toBe(48)
      expect(open).toBe(40)
    })
  )
})
