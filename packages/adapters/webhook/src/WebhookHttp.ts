// Webhooks over HTTP. One request per attempt with a deadline and a breaker per endpoint, a bounded answer, no redirects (a redirect is
// an answer like any other that is not 2xx), and no requests to internal addresses unless the operator allows them.
import { type IncomingMessage, request as requestPlain } from "node:http"
import { request as requestTls } from "node:https"
import { connect } from "node:net"
import { encodeEnvelope, mediaType } from "@holdfast/contracts/CloudEvent"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { type Failure, type Guard, makeGuard } from "@holdfast/resilience/Guard"
import { type DependencyState, Health } from "@holdfast/resilience/Health"
import { Breaker, Webhooks as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { ByteSize, DateTime, Duration, Effect, Layer, Redacted } from "effect"
import { Webhook as Signer } from "standardwebhooks"
import { AddressForbidden, isInternal, literalAddress, publicLookup } from "./Addresses.ts"
import { Webhook, type WebhookEndpoint, WebhookRefused } from "./Webhook.ts"

export interface WebhookHttpOptions {
  readonly endpoints: ReadonlyArray<WebhookEndpoint>
  readonly allowPrivate: boolean
}

export const layer = (options: WebhookHttpOptions) =>
  Layer.effect(
    Webhook,
    Effect.gen(function* () {
      const worst = makeWorst(yield* Health)
      const guards = new Map<string, Guard>()
      for (const endpoint of options.endpoints) {
        const guard = guardOf(endpoint, options).pipe(Effect.provideService(Health, worst(endpoint.id)))
        guards.set(endpoint.id, yield* guard)
      }
      const pauses = new Map<string, number>()
      const send = Effect.fn("Webhook.send")(function* (endpoint: WebhookEndpoint, envelope: Envelope) {
        const guard = guards.get(endpoint.id)
        if (guard === undefined) return yield* Effect.die(new Error(`no webhook endpoint ${endpoint.id}`))
        const now = yield* DateTime.now
        const pauseMs = (pauses.get(endpoint.id) ?? 0) - DateTime.toEpochMillis(now)
        if (pauseMs > 0) return yield* pausing(pauseMs)
        const attempt = post(endpoint, options, sign(endpoint, envelope, now)).pipe(
          Effect.tapError(({ retryAfterMs }) =>
            Effect.sync(() => {
              if (retryAfterMs !== null) pauses.set(endpoint.id, DateTime.toEpochMillis(now) + retryAfterMs)
            })
          )
        )
        yield* guard.call(attempt).pipe(Effect.catchIf(isRequestFailed, asRefused))
      })
      return Webhook.of({ endpoints: options.endpoints, send })
    })
  )

/** The endpoint asked to be left alone (Retry-After): nothing is sent until then. */
const pausing = (pauseMs: number) =>
  new Unavailable({
    dependency: "webhook",
    reason: "refused",
    retryAfterMs: Math.ceil(pauseMs),
    detail: "the endpoint asked to be called later"
  })

interface Signed {
  readonly body: string
  readonly headers: Readonly<Record<string, string>>
}

const sign = (endpoint: WebhookEndpoint, envelope: Envelope, now: DateTime.Utc): Signed => {
  const body = encodeEnvelope(envelope)
  const at = DateTime.toDateUtc(now)
  const signature = new Signer(Redacted.value(endpoint.secret)).sign(envelope.eventId, at, body)
  const headers = {
    "content-type": mediaType,
    "content-length": String(Buffer.byteLength(body)),
    "user-agent": "holdfast",
    "webhook-id": envelope.eventId,
    "webhook-timestamp": String(Math.floor(at.getTime() / 1000)),
    "webhook-signature": signature,
    ...(envelope.traceparent === null ? {} : { traceparent: envelope.traceparent })
  }
  return { body, headers }
}

/** One attempt that did not end in 2xx, and what the endpoint answered if it did. */
class RequestFailed extends Error {
  readonly status: number | null
  /** What a busy endpoint asked for. */
  readonly retryAfterMs: number | null
  constructor(message: string, status: number | null, cause?: unknown, retryAfterMs: number | null = null) {
    super(message, { cause })
    this.status = status
    this.retryAfterMs = retryAfterMs
  }
}

const isRequestFailed = (error: unknown): error is RequestFailed => error instanceof RequestFailed

const asRefused = (failed: RequestFailed) =>
  Effect.fail(
    new WebhookRefused({
      detail: failed.message,
      permanent: failed.status === 410 || failed.cause instanceof AddressForbidden
    })
  )

const post = ({ url: text }: WebhookEndpoint, { allowPrivate }: WebhookHttpOptions, { body, headers }: Signed) =>
  Effect.callback<void, RequestFailed>((resume, signal) => {
    const url = new URL(text)
    const refused = allowPrivate ? null : refusedLiteral(url)
    if (refused !== null) return resume(Effect.fail(refused))
    const fail = (cause: Error) => resume(Effect.fail(new RequestFailed(cause.message, null, cause)))
    const open = url.protocol === "https:" ? requestTls : requestPlain
    // A connection per request: an endpoint is called rarely, and a pooled one would outlive its check.
    const request = open(url, {
      method: "POST",
      headers,
      signal,
      agent: false,
      ...(allowPrivate ? {} : { lookup: publicLookup })
    })
    request.once("error", fail)
    request.once("response", (answer) => {
      let sizeBytes = 0
      const settle = () => resume(outcomeOf(answer))
      answer.once("end", settle)
      answer.once("error", fail)
      answer.on("data", (chunk: Buffer) => {
        sizeBytes += chunk.length
        if (sizeBytes <= ByteSize.toNumberUnsafe(Limits.answerBytesMax)) return
        settle()
        request.destroy()
      })
    })
    request.end(body)
  })

const refusedLiteral = (url: URL): RequestFailed | null => {
  const address = literalAddress(url)
  if (address === null || !isInternal(address)) return null
  const cause = new AddressForbidden(`${address} is an internal address`)
  return new RequestFailed(cause.message, null, cause)
}

const outcomeOf = ({ headers, statusCode: status = 0 }: IncomingMessage) => {
  if (status >= 200 && status < 300) return Effect.void
  const isBusy = status === 429 || status === 503
  const retryAfterMs = isBusy ? retryAfterMsOf(headers["retry-after"], Date.now()) : null
  return Effect.fail(new RequestFailed(`answered ${status}`, status, undefined, retryAfterMs))
}

/** Seconds or a date, and never longer than a retry waits anyway; null where there is nothing to be read. */
export const retryAfterMsOf = (header: string | undefined, nowMs: number): number | null => {
  if (header === undefined) return null
  const ms = /^\d+$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - nowMs
  return ms > 0 ? Math.min(ms, Duration.toMillis(Limits.retryMax)) : null
}

const guardOf = (endpoint: WebhookEndpoint, options: WebhookHttpOptions) =>
  makeGuard({
    dependency: "webhook",
    deadline: Limits.requestDeadline,
    concurrencyMax: Limits.underWayMax,
    acquireDeadline: Limits.acquireDeadline,
    probe: connects(endpoint, options),
    probeDeadline: Limits.connectDeadline,
    rest: Breaker.restFar,
    toFailure
  })

/** Only an endpoint that has trouble counts against it; what it refuses, or what we refuse to call, does not. */
const toFailure = (error: unknown): Failure | null => {
  if (!isRequestFailed(error) || error.cause instanceof AddressForbidden) return null
  if (error.status === null) return { reason: "unreachable", detail: error.message }
  return error.status >= 500 || error.status === 429 ? { reason: "refused", detail: error.message } : null
}

/** Whether it can be connected to: harmless, and enough to try one delivery again. */
const connects = ({ url: text }: WebhookEndpoint, { allowPrivate }: WebhookHttpOptions) =>
  Effect.callback<void, RequestFailed>((resume) => {
    const url = new URL(text)
    const refused = allowPrivate ? null : refusedLiteral(url)
    if (refused !== null) return resume(Effect.fail(refused))
    const port = Number(url.port === "" ? (url.protocol === "https:" ? 443 : 80) : url.port)
    const host = literalAddress(url) ?? url.hostname
    const socket = connect({ host, port, ...(allowPrivate ? {} : { lookup: publicLookup }) })
    socket.once("connect", () => {
      socket.destroy()
      resume(Effect.void)
    })
    socket.once("error", (cause) => resume(Effect.fail(new RequestFailed(cause.message, null, cause))))
    return Effect.sync(() => socket.destroy())
  })

const rank = { up: 0, degraded: 1, down: 2 } as const

/** Health knows one webhook dependency: it is as well as its worst endpoint. */
const makeWorst = (health: Health["Service"]) => {
  const known = new Map<string, { readonly state: DependencyState; readonly detail: string | null }>()
  return (endpointId: string): Health["Service"] => ({
    all: health.all,
    report: (dependency, state, detail) =>
      Effect.suspend(() => {
        known.set(endpointId, { state, detail: detail === null ? null : `${endpointId}: ${detail}` })
        const [worst] = [...known.values()].sort((a, b) => rank[b.state] - rank[a.state])
        return health.report(dependency, worst?.state ?? "up", worst?.detail ?? null)
      })
  })
}
