// Traces reach a collector that is there; one that is not there costs nothing.
import { createServer } from "node:http"
import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Option } from "effect"
import * as Telemetry from "../src/Telemetry.ts"
import { currentTraceparent } from "../src/TraceContext.ts"

const listening = (answer: (body: string) => void) =>
  Effect.gen(function* () {
    const server = createServer((request, response) => {
      const chunks: Array<string> = []
      request.on("data", (chunk) => chunks.push(String(chunk)))
      request.on("end", () => {
        answer(`${request.url} ${chunks.join("")}`)
        response.writeHead(200, { "content-type": "application/json" }).end("{}")
      })
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    )
    const address = server.address()
    return `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
  })

const telemetry = (otlpUrl: Option.Option<string>) => Telemetry.layer({ serviceName: "command-api", otlpUrl })
const work = Effect.withSpan(currentTraceparent, "Commands.handle")

it.live("spans have ids without any collector", () =>
  Effect.gen(function* () {
    expect(yield* Effect.provide(work, telemetry(Option.none()))).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
  })
)

it.live("spans reach the collector, at the latest when the process stops", () =>
  Effect.gen(function* () {
    const received = yield* Deferred.make<string>()
    const url = yield* listening((body) => Deferred.doneUnsafe(received, Effect.succeed(body)))
    const traceparent = yield* Effect.provide(work, telemetry(Option.some(`${url}/`)))
    const body = yield* Deferred.await(received)
    expect(body).toContain("/v1/traces")
    expect(body).toContain("Commands.handle")
    expect(body).toContain("command-api")
    expect(body).toContain(String(traceparent).slice(3, 35))
  })
)

describe("a collector that is away", () => {
  it.live("costs nothing: thousands of spans beyond the queue, and a stop in time", () =>
    Effect.gen(function* () {
      const traceparents = yield* Effect.provide(
        Effect.forEach(Array.from({ length: 10_000 }), () => work, { concurrency: 100 }),
        telemetry(Option.some("http://127.0.0.1:7649"))
      )
      expect(traceparents.every((traceparent) => traceparent !== null)).toBe(true)
    })
  )
})
