// The server that every process runs, over real sockets.
import { createServer } from "node:http"
import { connect } from "node:net"
import { describe, expect, it } from "@effect/vitest"
import { Health } from "@holdfast/resilience/Health"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Scope, Tracer } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as HealthRoutes from "../src/HealthRoutes.ts"
import { type ServeOptions, serve } from "../src/HttpServer.ts"

const routes = Layer.mergeAll(
  HttpRouter.add("GET", "/hello", HttpServerResponse.text("hello")),
  HttpRouter.add("GET", "/defect", Effect.die(new Error("secret of ours"))),
  HttpRouter.add(
    "POST",
    "/echo",
    Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      return HttpServerResponse.text(String((yield* request.text).length))
    })
  ),
  HttpRouter.add(
    "GET",
    "/correlation",
    Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
      HttpServerResponse.text(request.headers["x-correlation-id"] ?? "")
    )
  ),
  HttpRouter.add(
    "GET",
    "/trace",
    Effect.useSpan("work", ({ annotations, traceId }) =>
      Effect.succeed(
        HttpServerResponse.text(Context.get(annotations, Tracer.DisablePropagation) ? "nobody traces" : traceId)
      )
    )
  )
)

const started = <E, R>(added: Layer.Layer<never, E, R>, options: Partial<ServeOptions> = {}) =>
  Layer.build(serve(added, { host: "127.0.0.1", port: 0, portVariable: "HOLDFAST_COMMAND_PORT", ...options }))

/** A server of these routes on a free port. */
const listening = Effect.fnUntraced(function* (options: Partial<ServeOptions> = {}) {
  let port = 0
  yield* started(routes, {
    ...options,
    prepare: (server) =>
      server.on("listening", () => {
        const address = server.address()
        port = typeof address === "object" && address !== null ? address.port : 0
      })
  })
  return `http://127.0.0.1:${port}`
})
const get = (url: string, init?: RequestInit) => Effect.promise(() => fetch(url, init))

describe("traces", () => {
  const traceId = "0af7651916cd43dd8448eb211c80319c"
  const traceOf = (base: string, headers: Readonly<Record<string, string>>) =>
    Effect.flatMap(get(`${base}/trace`, { headers }), (response) => Effect.promise(() => response.text()))

  it.live("a caller's trace goes on, and without one nothing is traced for nobody", () =>
    Effect.gen(function* () {
      const base = yield* listening()
      expect(yield* traceOf(base, { traceparent: `00-${traceId}-b7ad6b7169203331-01` })).toBe(traceId)
      expect(yield* traceOf(base, {})).toBe("nobody traces")
    })
  )

  it.live("with a collector every request is traced", () =>
    Effect.gen(function* () {
      const names: Array<string> = []
      const collector = Tracer.make({
        span: (options) => {
          names.push(options.name)
          return new Tracer.NativeSpan(options)
        }
      })
      const base = yield* Effect.provideService(listening(), Tracer.Tracer, collector)
      expect(yield* traceOf(base, {})).toMatch(/^[0-9a-f]{32}$/)
      expect(names).toEqual(["GET", "work"])
    })
  )
})

describe("bounds", () => {
  it.live("MUST: a body over the limit is refused, though Effect itself has no limit", () =>
    Effect.gen(function* () {
      const base = yield* listening()
      const send = (bytes: number) => get(`${base}/echo`, { method: "POST", body: "x".repeat(bytes) })
      expect((yield* send(512 * 1024)).status).toBe(200)
      expect((yield* send(512 * 1024 + 1)).status).toBe(413)
      expect((yield* send(30 * 1024 * 1024)).status).toBe(413)
    })
  )

  it.live("MUST: a body that hides its length is cut at the limit as well", () =>
    Effect.gen(function* () {
      const base = yield* listening()
      const body = new Blob(["x".repeat(2 * 1024 * 1024)]).stream()
      const init: RequestInit & { readonly duplex: "half" } = { method: "POST", body, duplex: "half" }
      expect((yield* get(`${base}/echo`, init)).status).toBe(413)
    })
  )

  it.live("headers over the limit are refused", () =>
    Effect.gen(function* () {
      const base = yield* listening()
      expect((yield* get(`${base}/hello`, { headers: { "x-long": "x".repeat(20_000) } })).status).toBe(431)
    })
  )
})

describe("every answer", () => {
  it.live.each(["/hello", "/nowhere", "/defect"])("%s has the security headers and no banner", (path) =>
    Effect.gen(function* () {
      const { headers } = yield* get(`${yield* listening()}${path}`)
      expect(headers.get("x-content-type-options")).toBe("nosniff")
      expect(headers.get("x-frame-options")).toBe("DENY")
      expect(headers.get("content-security-policy")).toContain("default-src 'none'")
      expect(headers.get("server")).toBeNull()
      expect(headers.get("x-powered-by")).toBeNull()
    })
  )

  it.live("a defect tells nothing of ours", () =>
    Effect.gen(function* () {
      const response = yield* get(`${yield* listening()}/defect`)
      expect(response.status).toBe(500)
      expect(yield* Effect.promise(() => response.text())).not.toContain("secret")
    })
  )

  it.live("has the correlation id that was sent, and the handler sees the same", () =>
    Effect.gen(function* () {
      const id = "019a0000-0000-7000-8000-000000000001"
      const response = yield* get(`${yield* listening()}/correlation`, { headers: { "x-correlation-id": id } })
      expect(response.headers.get("x-correlation-id")).toBe(id)
      expect(yield* Effect.promise(() => response.text())).toBe(id)
    })
  )

  it.live.each([undefined, "not an id", "x".repeat(500)])("has a fresh one instead of %s", (sent) =>
    Effect.gen(function* () {
      const headers = sent === undefined ? {} : { "x-correlation-id": sent }
      const response = yield* get(`${yield* listening()}/correlation`, { headers })
      const given = response.headers.get("x-correlation-id")
      expect(given).toMatch(/^[0-9a-f-]{36}$/)
      expect(yield* Effect.promise(() => response.text())).toBe(given)
    })
  )
})

describe("other origins", () => {
  it.live("may call only when they are allowed", () =>
    Effect.gen(function* () {
      const base = yield* listening({ allowedOrigins: ["https://desk.example"] })
      const from = (origin: string) =>
        Effect.map(get(`${base}/hello`, { headers: { origin } }), ({ headers }) => headers)
      expect((yield* from("https://desk.example")).get("access-control-allow-origin")).toBe("https://desk.example")
      expect((yield* from("https://evil.example")).get("access-control-allow-origin")).toBeNull()
    })
  )

  it.live("may not call by default", () =>
    Effect.gen(function* () {
      const base = yield* listening()
      for (const origin of ["https://desk.example", "http://127.0.0.1:7410"]) {
        const { headers } = yield* get(`${base}/hello`, { headers: { origin } })
        expect(headers.get("access-control-allow-origin")).toBeNull()
      }
    })
  )

  it.live("on this host may call a server that takes the desk's own pages, others still may not", () =>
    Effect.gen(function* () {
      const base = yield* listening({ takesOwnPages: true, allowedOrigins: ["https://desk.example"] })
      const allowed = (origin: string) =>
        Effect.map(get(`${base}/hello`, { headers: { origin } }), ({ headers }) =>
          headers.get("access-control-allow-origin")
        )
      expect(yield* allowed("http://127.0.0.1:7410")).toBe("http://127.0.0.1:7410")
      expect(yield* allowed("https://desk.example")).toBe("https://desk.example")
      for (const origin of ["http://127.0.0.1.evil.example", "https://evil.example", "null"]) {
        expect(yield* allowed(origin)).toBeNull()
      }
    })
  )
})

describe("starting and stopping", () => {
  it.live("a taken port is one sentence that names the variable", () =>
    Effect.gen(function* () {
      const other = createServer()
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => {
          other.listen(0, "127.0.0.1", () => resume(Effect.void))
        }),
        () => Effect.sync(() => other.close())
      )
      const address = other.address()
      const port = typeof address === "object" && address !== null ? address.port : 0
      const error = yield* Effect.flip(started(routes, { port }))
      expect(error.message).toBe(
        `port ${port} on 127.0.0.1 is taken by another program: stop that one, or set HOLDFAST_COMMAND_PORT to a free port.`
      )
    })
  )

  it.live("a request under way is answered though the server stops, and new connections are refused", () =>
    Effect.gen(function* () {
      const entered = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const slow = HttpRouter.add(
        "GET",
        "/slow",
        Deferred.succeed(entered, undefined).pipe(
          Effect.andThen(Deferred.await(release)),
          Effect.andThen(Effect.succeed(HttpServerResponse.text("done")))
        )
      )
      let port = 0
      const scope = yield* Scope.make()
      const closed = yield* Deferred.make<void>()
      yield* Scope.provide(
        started(slow, {
          prepare: (server) => {
            server.on("listening", () => {
              const address = server.address()
              port = typeof address === "object" && address !== null ? address.port : 0
            })
            const close = server.close.bind(server)
            server.close = (callback) => {
              Deferred.doneUnsafe(closed, Effect.void)
              return close(callback)
            }
          }
        }),
        scope
      )
      const request = yield* Effect.forkChild(get(`http://127.0.0.1:${port}/slow`))
      yield* Deferred.await(entered)
      const stopping = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* Deferred.await(closed)
      const refused = yield* Effect.callback<boolean>((resume) => {
        const socket = connect(port, "127.0.0.1")
        socket.on("connect", () => resume(Effect.succeed(false)))
        socket.on("error", () => resume(Effect.succeed(true)))
      })
      expect(refused).toBe(true)
      yield* Deferred.succeed(release, undefined)
      const response = yield* Fiber.join(request)
      expect(yield* Effect.promise(() => response.text())).toBe("done")
      yield* Fiber.join(stopping)
    })
  )
})

describe("health", () => {
  const ask = Effect.fnUntraced(function* (path: string, report: Effect.Effect<void, never, Health>) {
    yield* report
    let port = 0
    yield* started(HealthRoutes.layer({ process: "command-api", needs: ["database"] }), {
      prepare: (server) =>
        server.on("listening", () => {
          const address = server.address()
          port = typeof address === "object" && address !== null ? address.port : 0
        })
    })
    const response = yield* get(`http://127.0.0.1:${port}${path}`)
    return { status: response.status, text: yield* Effect.promise(() => response.text()) }
  })
  const down = (dependency: "database" | "cache") =>
    Health.use((health) => health.report(dependency, "down", "no answer within 100 ms"))

  it.live("live as long as the process runs", () =>
    Effect.gen(function* () {
      expect((yield* ask("/health/live", down("database"))).status).toBe(200)
    }).pipe(Effect.provide(Health.layer))
  )

  it.live("ready while only what it can do without is down", () =>
    Effect.gen(function* () {
      const { status, text } = yield* ask("/health/ready", down("cache"))
      expect(status).toBe(200)
      expect(JSON.parse(text)).toMatchObject({
        process: "command-api",
        status: "ready",
        dependencies: [{ dependency: "cache", state: "down", needed: false, detail: "no answer within 100 ms" }]
      })
    }).pipe(Effect.provide(Health.layer))
  )

  it.live("not ready while what it needs is down, and says since when", () =>
    Effect.gen(function* () {
      const { status, text } = yield* ask("/health/ready", down("database"))
      expect(status).toBe(503)
      expect(JSON.parse(text).dependencies[0].since).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/)
    }).pipe(Effect.provide(Health.layer))
  )

  it.live("metrics are Prometheus text with every dependency", () =>
    Effect.gen(function* () {
      const { text } = yield* ask("/metrics", down("database"))
      expect(text).toContain('holdfast_dependency_state{dependency="database"} 0')
    }).pipe(Effect.provide(Health.layer))
  )
})
