// Every fault does what it says, and no other: tests of failures stand on this.
import { createServer, Socket } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Duration, Effect } from "effect"
import { type Fault, type FaultProxy, faultProxy, targetOf } from "../src/Faults.ts"

/** Answers each piece of data with the same in upper case, and remembers what it got. */
const echoServer = Effect.gen(function* () {
  const got: Array<string> = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => undefined)
    socket.on("data", (chunk) => {
      got.push(String(chunk))
      socket.write(String(chunk).toUpperCase())
    })
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  )
  const address = server.address()
  return { port: typeof address === "object" && address !== null ? address.port : 0, got }
})

interface Client {
  readonly send: (text: string) => void
  /** Waits for so many characters. */
  readonly receive: (length: number) => Effect.Effect<string>
  readonly received: () => string
  /** The code of the error that ended it, or "end". */
  readonly ended: Effect.Effect<string>
}

const connect = (port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const socket = new Socket()
      let received = ""
      const ended = Deferred.makeUnsafe<string>()
      socket.on("data", (chunk) => {
        received += String(chunk)
        socket.emit("received")
      })
      socket.on("error", (error) => {
        Deferred.doneUnsafe(ended, Effect.succeed("code" in error ? String(error.code) : error.message))
      })
      socket.on("close", () => Deferred.doneUnsafe(ended, Effect.succeed("end")))
      socket.connect(port, "127.0.0.1")
      const receive = (length: number) =>
        Effect.callback<string>((resume) => {
          const look = () => received.length >= length && resume(Effect.succeed(received))
          socket.on("received", look)
          look()
        })
      const client: Client = {
        send: (text) => socket.write(text),
        receive,
        received: () => received,
        ended: Deferred.await(ended)
      }
      return { socket, client }
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  ).pipe(Effect.map(({ client }) => client))

const world = Effect.gen(function* () {
  const server = yield* echoServer
  const proxy = yield* faultProxy({ host: "127.0.0.1", port: server.port })
  return { server, proxy }
})
const exchange = (proxy: FaultProxy, text: string) =>
  Effect.gen(function* () {
    const client = yield* connect(proxy.port)
    client.send(text)
    return yield* client.receive(text.length)
  })

it.live("passes everything at first, large data included", () =>
  Effect.gen(function* () {
    const { proxy } = yield* world
    expect(yield* exchange(proxy, "hello")).toBe("HELLO")
    expect((yield* exchange(proxy, "x".repeat(5_000_000))).length).toBe(5_000_000)
    expect(proxy.accepted()).toBe(2)
  })
)

it.live("leads a URL through itself and keeps the rest of it", () =>
  Effect.gen(function* () {
    const proxy = yield* faultProxy(targetOf("postgres://u:p@127.0.0.1:5432/desk?x=1"))
    expect(proxy.through("postgres://u:p@127.0.0.1:5432/desk?x=1")).toBe(
      `postgres://u:p@127.0.0.1:${proxy.port}/desk?x=1`
    )
  })
)

describe("hang", () => {
  it.live("holds a connection under way, and lets what was sent arrive once it passes again", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* world
      const client = yield* connect(proxy.port)
      client.send("one")
      yield* client.receive(3)
      yield* proxy.set({ _tag: "Hang" })
      client.send("two")
      // A whole exchange with the server beside the proxy: had anything been let through, it would be there by now.
      yield* exchange(yield* faultProxy({ host: "127.0.0.1", port: server.port }), "beside")
      expect(client.received()).toBe("ONE")
      yield* proxy.set({ _tag: "Pass" })
      expect(yield* client.receive(6)).toBe("ONETWO")
    })
  )

  it.live("accepts new connections and says nothing", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* world
      yield* proxy.set({ _tag: "Hang" })
      const client = yield* connect(proxy.port)
      client.send("hello")
      yield* exchange(yield* faultProxy({ host: "127.0.0.1", port: server.port }), "beside")
      expect(server.got).toEqual(["beside"])
      yield* proxy.set({ _tag: "Pass" })
      expect(yield* client.receive(5)).toBe("HELLO")
    })
  )
})

describe("partition", () => {
  it.live.each([
    { direction: "toServer", heard: ["one"] },
    { direction: "toClient", heard: ["one", "two"] }
  ] as const)("$direction holds what goes that way alone, until it passes again", ({ direction, heard }) =>
    Effect.gen(function* () {
      const { proxy, server } = yield* world
      const client = yield* connect(proxy.port)
      client.send("one")
      yield* client.receive(3)
      yield* proxy.set({ _tag: "Partition", direction })
      client.send("two")
      yield* exchange(yield* faultProxy({ host: "127.0.0.1", port: server.port }), "beside")
      expect(server.got.filter((one) => one !== "beside")).toEqual(heard)
      expect(client.received()).toBe("ONE")
      yield* proxy.set({ _tag: "Pass" })
      expect(yield* client.receive(6)).toBe("ONETWO")
    })
  )
})

describe("what breaks a connection", () => {
  it.live.each([{ _tag: "Refuse" }, { _tag: "Reset" }] as const satisfies ReadonlyArray<Fault>)(
    "%j resets what is under way",
    (fault) =>
      Effect.gen(function* () {
        const { proxy } = yield* world
        const client = yield* connect(proxy.port)
        client.send("hello")
        yield* client.receive(5)
        yield* proxy.set(fault)
        expect(yield* client.ended).toBe("ECONNRESET")
      })
  )

  it.live("refused: new connections find nobody, until it passes again on the same port", () =>
    Effect.gen(function* () {
      const { proxy } = yield* world
      yield* proxy.set({ _tag: "Refuse" })
      expect(yield* (yield* connect(proxy.port)).ended).toBe("ECONNREFUSED")
      yield* proxy.set({ _tag: "Pass" })
      expect(yield* exchange(proxy, "again")).toBe("AGAIN")
    })
  )

  it.live("reset: new connections are accepted and broken", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* world
      yield* proxy.set({ _tag: "Reset" })
      expect(yield* (yield* connect(proxy.port)).ended).not.toBe("ECONNREFUSED")
      expect(server.got).toEqual([])
    })
  )

  it.live("cut: exactly so many bytes reach the server", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* world
      yield* proxy.set({ _tag: "CutAfter", bytes: 7, direction: "toServer" })
      const client = yield* connect(proxy.port)
      client.send("hello")
      yield* client.receive(5)
      client.send("hello")
      yield* client.ended
      expect(server.got.join("")).toBe("hellohe")
    })
  )

  it.live("cut: at most so many bytes of the answer reach the client", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* world
      yield* proxy.set({ _tag: "CutAfter", bytes: 3, direction: "toClient" })
      const client = yield* connect(proxy.port)
      client.send("hello")
      yield* client.ended
      expect(server.got).toEqual(["hello"])
      expect("HEL".startsWith(client.received())).toBe(true)
    })
  )

  it.live("lost answer: the server did it, and the client cannot know", () =>
    Effect.gen(function* () {
      const { proxy, server } = yield* world
      yield* proxy.set({ _tag: "LoseAnswers" })
      const client = yield* connect(proxy.port)
      client.send("do it")
      expect(yield* client.ended).toBe("ECONNRESET")
      expect(server.got).toEqual(["do it"])
      expect(client.received()).toBe("")
    })
  )
})

it.live("delay: late, but whole and in order", () =>
  Effect.gen(function* () {
    const { proxy } = yield* world
    yield* proxy.set({ _tag: "Delay", duration: Duration.millis(20) })
    const text = Array.from({ length: 20 }, (_, index) => `piece ${index} `).join("")
    expect(yield* exchange(proxy, text)).toBe(text.toUpperCase())
  })
)

it.live("takes its connections with it", () =>
  Effect.gen(function* () {
    const server = yield* echoServer
    const client = yield* Effect.scoped(
      Effect.gen(function* () {
        const proxy = yield* faultProxy({ host: "127.0.0.1", port: server.port })
        return { port: proxy.port }
      })
    )
    expect(yield* (yield* connect(client.port)).ended).toBe("ECONNREFUSED")
  })
)
