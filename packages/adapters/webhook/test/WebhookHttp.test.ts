import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { assert, describe, it } from "@effect/vitest"
import { decodeEnvelope } from "@holdfast/contracts/CloudEvent"
import { Health } from "@holdfast/resilience/Health"
import { Webhooks as Limits } from "@holdfast/resilience/Limits"
import { sequence } from "@holdfast/testkit/Envelopes"
import { Deferred, Effect, Fiber, Redacted, Result } from "effect"
import { TestClock } from "effect/testing"
import { Webhook as Verifier } from "standardwebhooks"
import { isInternal } from "../src/Addresses.ts"
import { Webhook } from "../src/Webhook.ts"
import * as WebhookHttp from "../src/WebhookHttp.ts"

const secret = `whsec_${Buffer.from("a secret of 24 bytes or so..").toString("base64")}`

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void

/** A receiver on a free port of this machine. */
const receiver = (answer: Answer) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
      const server = createServer((request, response) => {
        const chunks: Array<Buffer> = []
        request.on("data", (chunk: Buffer) => chunks.push(chunk))
        request.on("end", () => answer(request, response, Buffer.concat(chunks).toString()))
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        const close = () => {
          server.closeAllConnections()
          server.close()
        }
        resume(Effect.succeed({ port, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

const send = (url: string, allowPrivate = true) =>
  Effect.gen(function* () {
    const [envelope] = sequence("a")
    assert.isDefined(envelope)
    const endpoint = { id: "one", url, secret: Redacted.make(secret) }
    const layer = WebhookHttp.layer({ endpoints: [endpoint], allowPrivate })
    return yield* Webhook.use((webhook) => Effect.result(webhook.send(endpoint, envelope))).pipe(
      Effect.provide(layer),
      Effect.provide(Health.layer)
    )
  })

const refusalOf = (result: Result.Result<void, { readonly detail: string }>) =>
  Result.isFailure(result) ? result.failure : assert.fail("it was sent")

describe("WebhookHttp", () => {
  it.live("sends nothing more to an endpoint that asked to be called later, until then", () =>
    Effect.gen(function* () {
      let calls = 0
      const { port } = yield* receiver((_request, response) => {
        calls++
        response.writeHead(429, { "retry-after": "120" }).end()
      })
      const [envelope] = sequence("a")
      assert.isDefined(envelope)
      const endpoint = { id: "one", url: `http://127.0.0.1:${port}/`, secret: Redacted.make(secret) }
      const twice = Webhook.use((webhook) =>
        Effect.andThen(Effect.exit(webhook.send(endpoint, envelope)), Effect.flip(webhook.send(endpoint, envelope)))
      )
      const refusal = yield* twice.pipe(
        Effect.provide(WebhookHttp.layer({ endpoints: [endpoint], allowPrivate: true })),
        Effect.provide(Health.layer)
      )
      assert.strictEqual(calls, 1)
      assert.isTrue("retryAfterMs" in refusal && refusal.retryAfterMs > 100_000)
    })
  )

  it("reads Retry-After as seconds or a date, within its own bound", () => {
    const now = Date.parse("2026-11-22T10:00:00Z")
    const read = (header?: string) => WebhookHttp.retryAfterMsOf(header, now)
    assert.deepStrictEqual(
      [read("7"), read("Sun, 22 Nov 2026 10:01:00 GMT"), read("99999999"), read("soon"), read("0"), read()],
      [7_000, 60_000, 14_400_000, null, null, null]
    )
  })

  it.live("sends the event as a CloudEvent with a signature that the receiver can verify", () =>
    Effect.gen(function* () {
      const got: Array<{ readonly headers: IncomingMessage["headers"]; readonly body: string }> = []
      const { port } = yield* receiver(({ headers }, response, body) => {
        got.push({ headers, body })
        response.writeHead(204).end()
      })
      assert.strictEqual((yield* send(`http://127.0.0.1:${port}/hook`))._tag, "Success")
      const [one] = got
      assert.isDefined(one)
      const headers = Object.fromEntries(Object.entries(one.headers).map(([name, value]) => [name, String(value)]))
      new Verifier(secret).verify(one.body, headers)
      const [envelope] = sequence("a")
      assert.strictEqual(headers["webhook-id"], envelope?.eventId)
      assert.deepStrictEqual(Result.getOrThrow(decodeEnvelope(one.body)).event, envelope?.event)
    })
  )

  it.live("does not follow a redirect", () =>
    Effect.gen(function* () {
      let calls = 0
      const { port } = yield* receiver((_request, response) => {
        calls++
        response.writeHead(302, { location: "http://169.254.169.254/" }).end()
      })
      assert.match(refusalOf(yield* send(`http://127.0.0.1:${port}/`)).detail, /answered 302/)
      assert.strictEqual(calls, 1)
    })
  )

  it.live("calls no internal address unless allowed, written as a number or as a name", () =>
    Effect.gen(function* () {
      let calls = 0
      const { port } = yield* receiver((_request, response) => {
        calls++
        response.end()
      })
      for (const host of ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]"]) {
        const failure = refusalOf(yield* send(`http://${host}:${port}/`, false))
        assert.match(failure.detail, /internal address/, host)
        assert.isTrue("permanent" in failure && failure.permanent, host)
      }
      assert.strictEqual(calls, 0)
    })
  )

  it.live("counts on the status alone when the answer has no end", () =>
    Effect.gen(function* () {
      const { port } = yield* receiver((_request, response) => {
        response.writeHead(200)
        response.write("x".repeat(1_000_000))
      })
      assert.strictEqual((yield* send(`http://127.0.0.1:${port}/`))._tag, "Success")
    })
  )

  it.live("gives up at once where an endpoint says that it is gone", () =>
    Effect.gen(function* () {
      const { port } = yield* receiver((_request, response) => void response.writeHead(410).end())
      const failure = refusalOf(yield* send(`http://127.0.0.1:${port}/`))
      assert.isTrue("permanent" in failure && failure.permanent)
    })
  )

  it.effect("gives up on an endpoint that does not answer in time", () =>
    Effect.gen(function* () {
      const called = yield* Deferred.make<void>()
      const { port } = yield* receiver(() => Deferred.doneUnsafe(called, Effect.void))
      const sending = yield* Effect.forkScoped(send(`http://127.0.0.1:${port}/`))
      yield* Deferred.await(called)
      yield* TestClock.adjust(Limits.requestDeadline)
      const failure = refusalOf(yield* Fiber.join(sending))
      assert.isTrue("reason" in failure && failure.reason === "timeout")
    })
  )
})

describe("isInternal", () => {
  const internal = [
    ...["0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "198.18.0.1"],
    ...[
      "224.0.0.1",
      "255.255.255.255",
      "::",
      "::1",
      "fe80::1",
      "fd00::1",
      "::ffff:10.0.0.1",
      "64:ff9b::a00:1",
      "2002:a00:1::"
    ],
    "not an address"
  ]
  it.each(internal)("refuses %s", (address) => assert.isTrue(isInternal(address)))
  it.each(["8.8.8.8", "1.1.1.1", "2606:4700::1111"])("allows %s", (address) => assert.isFalse(isInternal(address)))
})
