// How a copy leaves: the process's doors opened and closed as Main does it, over real sockets that are kept open.
import { Agent, request } from "node:http"
import { BoundSocket } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { Health } from "@holdfast/resilience/Health"
import { Deferred, Duration, Effect, Fiber, Layer, Stream } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as HealthRoutes from "../src/HealthRoutes.ts"
import { serve } from "../src/HttpServer.ts"
import { Lifecycle, makeLifecycle } from "../src/Lifecycle.ts"

const grace = Duration.seconds(30)

const process = Effect.fnUntraced(function* () {
  const lifecycle = makeLifecycle("starting")
  const entered = yield* Deferred.make<void>()
  const release = yield* Deferred.make<void>()
  const slow = Deferred.succeed(entered, undefined).pipe(
    Effect.andThen(Deferred.await(release)),
    Effect.as(HttpServerResponse.text("done"))
  )
  const reserved = new BoundSocket({ host: "127.0.0.1", port: 0 })
  const { port } = reserved.address()
  reserved.close()
  const routes = Layer.mergeAll(
    HttpRouter.add("GET", "/slow", slow),
    HttpRouter.add("GET", "/stream", HttpServerResponse.stream(endless, { contentType: "text/event-stream" })),
    HealthRoutes.layer({ process: "command-api", needs: [] })
  )
  yield* Layer.build(
    serve(routes, { host: "127.0.0.1", port, portVariable: "HOLDFAST_COMMAND_PORT" }).pipe(
      Layer.provide(Layer.merge(Health.layer, Layer.succeed(Lifecycle, lifecycle)))
    )
  )
  const agent = yield* Effect.acquireRelease(
    Effect.sync(() => new Agent({ keepAlive: true, maxSockets: 1 })),
    (one) => Effect.sync(() => one.destroy())
  )
  const ask = (path: string, by: Agent | false = agent) =>
    Effect.callback<{ readonly status: number; readonly connection: string | undefined }, Error>((resume) => {
      const asked = request({ host: "127.0.0.1", port, path, agent: by }, (response) => {
        response.resume()
        response.once("end", () =>
          resume(Effect.succeed({ status: response.statusCode ?? 0, connection: response.headers.connection }))
        )
      })
      asked.once("error", (error) => resume(Effect.fail(error)))
      asked.end()
    })
  const openStream = Effect.callback<() => void>((resume) => {
    const asked = request({ host: "127.0.0.1", port, path: "/stream", agent: false }, (response) => {
      response.on("error", () => undefined)
      response.once("data", () => resume(Effect.succeed(() => asked.destroy())))
    })
    asked.end()
  })
  return { lifecycle, entered, release, ask, openStream }
})

const endless = Stream.concat(Stream.make(new TextEncoder().encode(": here\n\n")), Stream.never)

describe("a process", () => {
  it.live("listens only once it is open", () =>
    Effect.gen(function* () {
      const { ask, lifecycle } = yield* process()
      expect((yield* Effect.flip(ask("/health/live"))).message).toContain("ECONNREFUSED")
      yield* lifecycle.open
      expect((yield* ask("/health/ready")).status).toBe(200)
    })
  )

  it.live("that leaves answers who is connected already, and asks for another connection", () =>
    Effect.gen(function* () {
      const { ask, lifecycle } = yield* process()
      yield* lifecycle.open
      expect((yield* ask("/health/live")).connection).toBe("keep-alive")
      const leaving = yield* Effect.forkChild(lifecycle.drain(grace), { startImmediately: true })
      expect((yield* Effect.flip(ask("/health/live", false))).message).toContain("ECONNREFUSED")
      expect(yield* ask("/health/ready")).toEqual({ status: 503, connection: "close" })
      yield* Fiber.join(leaving)
    })
  )

  it.live("that leaves finishes what is under way", () =>
    Effect.gen(function* () {
      const { ask, entered, lifecycle, release } = yield* process()
      yield* lifecycle.open
      const asked = yield* Effect.forkChild(ask("/slow"))
      yield* Deferred.await(entered)
      const leaving = yield* Effect.forkChild(lifecycle.drain(Duration.zero), { startImmediately: true })
      yield* Deferred.succeed(release, undefined)
      expect(yield* Fiber.join(asked)).toEqual({ status: 200, connection: "close" })
      yield* Fiber.join(leaving)
    })
  )

  it.live("that leaves waits for no event stream, which whoever serves it ends", () =>
    Effect.gen(function* () {
      const { lifecycle, openStream } = yield* process()
      yield* lifecycle.open
      const cut = yield* openStream
      yield* lifecycle.drain(Duration.zero)
      cut()
    })
  )

  it.live("that stops with the whole desk ends idle connections at once", () =>
    Effect.gen(function* () {
      const { ask, lifecycle } = yield* process()
      yield* lifecycle.open
      yield* ask("/health/live")
      yield* lifecycle.drain(Duration.zero)
      expect((yield* Effect.flip(ask("/health/live"))).message).toMatch(/ECONNREFUSED|ECONNRESET|hang up/)
    })
  )
})
