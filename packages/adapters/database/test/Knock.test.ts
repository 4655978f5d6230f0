// The question that a hung server may answer late: one connection, held until then, and gone afterwards.
import { createServer, type Server, type Socket } from "node:net"
import { expect, it } from "@effect/vitest"
import { Effect, Fiber, Redacted } from "effect"
import { knock } from "../src/Knock.ts"

const serving = (serve: (socket: Socket) => void) =>
  Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = createServer(serve)
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )

const knockAt = (server: Server) => {
  const address = server.address()
  const port = typeof address === "object" ? address?.port : 0
  return knock("database", { url: Redacted.make(`postgres://127.0.0.1:${port}/desk`) })
}

it.live("waits on one connection until the server answers, and leaves", () =>
  Effect.gen(function* () {
    const asked = Promise.withResolvers<Socket>()
    const left = Promise.withResolvers<void>()
    const server = yield* serving((socket) => {
      socket.once("data", () => asked.resolve(socket))
      socket.once("close", () => left.resolve())
    })
    const waiting = yield* Effect.forkScoped(knockAt(server))
    const socket = yield* Effect.promise(() => asked.promise)
    expect(waiting.pollUnsafe()).toBeUndefined()
    socket.write("N")
    yield* Fiber.join(waiting)
    yield* Effect.promise(() => left.promise)
  })
)

it.live("leaves when it is told to", () =>
  Effect.gen(function* () {
    const asked = Promise.withResolvers<void>()
    const left = Promise.withResolvers<void>()
    const server = yield* serving((socket) => {
      socket.once("data", () => asked.resolve())
      socket.once("close", () => left.resolve())
    })
    const waiting = yield* Effect.forkScoped(knockAt(server))
    yield* Effect.promise(() => asked.promise)
    yield* Fiber.interrupt(waiting)
    yield* Effect.promise(() => left.promise)
  })
)

it.live("tells a server that hangs up from one that is not there", () =>
  Effect.gen(function* () {
    const server = yield* serving((socket) => socket.destroy())
    expect((yield* Effect.flip(knockAt(server))).reason).toMatch(/connection_lost|unreachable/)
    const gone = knock("database", { url: Redacted.make("postgres://127.0.0.1:1/desk") })
    expect(yield* Effect.flip(gone)).toMatchObject({ dependency: "database", reason: "unreachable" })
  })
)
