// The HTTP server of every process: bounded bodies, headers, sockets and times; a correlation id on every request and answer;
// security headers on every answer, errors and raw handlers included, and no banner; doors that open when everything behind them is
// there, and a stop that fails no request.
// MUST: `MaxBodySize` has no default, so it is set here and nowhere else.
import { randomUUID } from "node:crypto"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { CorrelationId } from "@holdfast/contracts/Ids"
import { Commands, Http } from "@holdfast/resilience/Limits"
import { ByteSize, Cause, Clock, Duration, Effect, Layer, Metric, Option, Schema, type Scope, Tracer } from "effect"
import {
  HttpIncomingMessage,
  HttpMiddleware,
  HttpRouter,
  HttpServer,
  HttpServerError,
  HttpServerRequest,
  type HttpServerResponse
} from "effect/http"
import { NetAddress } from "effect/net"
import { watchConnections } from "./Connections.ts"
import { type HttpDrain, makeDrain } from "./HttpDrain.ts"
import { Lifecycle } from "./Lifecycle.ts"
import { inheritedSocket, placeOf } from "./Sockets.ts"
import { StartError } from "./StartError.ts"

export interface ServeOptions {
  readonly host: string
  readonly port: number
  /** The variable that sets the port, for the sentence that says it is taken. */
  readonly portVariable: string
  /** Of bodies read through Effect; a raw handler bounds its own. */
  readonly bodyBytesMax?: ByteSize.ByteSize
  /** A process that receives uploads bounds them itself and passes null. */
  readonly receiveDeadline?: Duration.Duration | null
  /** Origins of web pages that may call; none by default. */
  readonly allowedOrigins?: ReadonlyArray<string>
  /** Pages from other ports of this host may call too: the status page is one. */
  readonly takesOwnPages?: boolean
  /** Open at once; `Http.connectionsMax` unless told. */
  readonly connectionsMax?: number
  /** Sees the server before it listens: a gateway takes WebSocket upgrades here. */
  readonly prepare?: (server: Server) => void
}

/** Serves the routes that a layer adds to the `HttpRouter`, from the moment at which the whole process is open. */
export const serve = <A, E, R>(routes: Layer.Layer<A, E, R>, options: ServeOptions) =>
  Layer.unwrap(
    Effect.sync(() => {
      const drain = makeDrain()
      const late = makeLateServer(options, drain)
      return Layer.effectDiscard(Lifecycle.use((life) => life.add({ open: late.open, drain: drain.run }))).pipe(
        Layer.provideMerge(HttpRouter.serve(routes, { disableLogger: true, disableListenLog: true })),
        Layer.provide(Layer.merge(late.layer, NodeHttpServer.layerHttpServices)),
        Layer.provide([bounded(options), tracedWhenWatched])
      )
    })
  )

const bounded = ({ bodyBytesMax }: ServeOptions) =>
  Layer.succeed(HttpIncomingMessage.MaxBodySize, bodyBytesMax ?? Commands.requestBytesMax)

/** Keeps what is to be served until it is opened: a server that listens earlier would take people whom nobody answers yet. */
const makeLateServer = (options: ServeOptions, drain: HttpDrain) => {
  let listenAndServe: Effect.Effect<void, StartError> = Effect.void
  const server = HttpServer.make({
    address: notYet,
    serve: Effect.fnUntraced(function* (app) {
      const context = yield* Effect.context<Scope.Scope>()
      listenAndServe = listening(options, drain).pipe(
        Effect.flatMap((real) => real.serve(app, (handled) => withCors(options)(observed(handled)))),
        Effect.andThen(listenMore(drain)),
        Effect.asVoid,
        Effect.provideContext(context)
      )
    })
  })
  return {
    layer: Layer.succeed(HttpServer.HttpServer, server),
    open: Effect.suspend(() => listenAndServe)
  }
}

const notYet = NetAddress.unixPathAddress("")

const listening = (options: ServeOptions, drain: HttpDrain) =>
  NodeHttpServer.make(() => nodeServer(options, drain), {
    ...placeOf("http", options),
    gracefulShutdownTimeout: Http.stopDeadline,
    // One message of a WebSocket that Effect serves is bounded like a body.
    websocket: { maxPayload: ByteSize.toNumberUnsafe(options.bodyBytesMax ?? Commands.requestBytesMax) }
  }).pipe(Effect.mapError((error) => cannotListen(options, error)))

/** The same server by other doors: its socket again, and the address of this copy alone, where it is asked how it is. */
const listenMore = ({ connections }: HttpDrain) =>
  Effect.suspend(() => {
    for (const fd of inheritedSocket("http").slice(1)) connections()?.listenAlso(fd)
    return Effect.forEach(inheritedSocket("health"), (fd) => connections()?.listenApart(fd) ?? Effect.void)
  })

const nodeServer = (options: ServeOptions, drain: HttpDrain): Server => {
  const server = createServer({
    maxHeaderSize: Http.headerBytesMax,
    headersTimeout: Duration.toMillis(Http.headersDeadline),
    requestTimeout: Duration.toMillis(
      options.receiveDeadline === undefined ? Http.receiveDeadline : (options.receiveDeadline ?? 0)
    ),
    keepAliveTimeout: Duration.toMillis(Http.keepAlive)
  })
  server.on("request", prepareAnswer)
  drain.watch(server, watchConnections(server, options.connectionsMax ?? Http.connectionsMax))
  options.prepare?.(server)
  return server
}

export const correlationHeader = "x-correlation-id"

const securityHeaders = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-site"
} as const

const isCorrelationId = Schema.is(CorrelationId)

// On Node's own objects, before any handler, so that a 404, a 413, a defect and a raw handler have them too. A route that sets one of
// these itself has the last word.
const prepareAnswer = (request: IncomingMessage, response: ServerResponse) => {
  const sent = request.headers[correlationHeader]
  const correlationId = isCorrelationId(sent) ? sent : randomUUID()
  request.headers[correlationHeader] = correlationId
  response.setHeader(correlationHeader, correlationId)
  for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value)
}

const withCors = ({ allowedOrigins = [], takesOwnPages = false }: ServeOptions) => {
  // A predicate, because an empty list would mean every origin.
  const listed = corsFor((origin) => allowedOrigins.includes(origin))
  if (!takesOwnPages) return listed
  const own = corsFor(() => true)
  return <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) => {
    const answers = { listed: listed(app), own: own(app) }
    return Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
      isSameHost(headers.origin, headers.host) ? answers.own : answers.listed
    )
  }
}

/** Whoever serves pages on this host is trusted as the desk is; and nothing is given without a token, which no browser sends by itself. */
const isSameHost = (origin: string | undefined, host: string | undefined): boolean =>
  origin !== undefined &&
  URL.canParse(origin) &&
  URL.canParse(`http://${host}`) &&
  new URL(origin).hostname === new URL(`http://${host}`).hostname

const corsFor = (allowedOrigins: (origin: string) => boolean) =>
  HttpMiddleware.cors({
    allowedOrigins,
    allowedMethods: ["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"],
    allowedHeaders: corsRequestHeaders,
    exposedHeaders: corsAnswerHeaders,
    maxAge: 600
  })

const tusHeaders = ["Location", "Tus-Resumable", "Upload-Length", "Upload-Offset", "Upload-Metadata", "Upload-Concat"]
const corsRequestHeaders = [
  ...["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-Correlation-Id", "traceparent"],
  ...[...tusHeaders, "Upload-Checksum", "Upload-Defer-Length", "X-HTTP-Method-Override"]
]
const corsAnswerHeaders = [
  ...["X-Correlation-Id", "Idempotency-Replayed", "Retry-After", "ETag", "Content-Disposition", "Content-Range"],
  ...[...tusHeaders, "Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm", "Upload-Expires"]
]

const duration = Metric.histogram("holdfast_http_request_duration_ms", {
  description: "Time to answer a request, in milliseconds",
  boundaries: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000]
})

// Labelled metrics are looked up once per method and kind of answer, of which there are few.
const durations = new Map<string, typeof duration>()

const durationOf = (method: string, status: number) => {
  const kind = `${Math.floor(status / 100)}xx`
  const key = `${method} ${kind}`
  const known = durations.get(key) ?? Metric.withAttributes(duration, { method, status: kind })
  durations.set(key, known)
  return known
}

const record = (method: string, status: number, startedAt: number) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => Metric.update(durationOf(method, status), now - startedAt))

/** Every log line of a request carries its correlation id; failures of ours are logged, the rest is in the metrics and traces. */
const observed = <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const startedAt = yield* Clock.currentTimeMillis
    const isTraced = !(yield* HttpMiddleware.TracerDisabledWhen)(request)
    const correlationId = request.headers[correlationHeader] ?? ""
    const recorded = app.pipe(
      Effect.tap(({ status }) => record(request.method, status, startedAt)),
      Effect.tapCause((cause) => {
        const [response, why] = HttpServerError.causeResponseStripped(cause)
        const ours = response.status >= 500 && !Cause.hasInterruptsOnly(cause)
        const failed = ours
          ? Effect.logError(
              "a request failed",
              Option.getOrElse(why, () => cause)
            )
          : Effect.void
        return Effect.andThen(record(request.method, response.status, startedAt), failed)
      }),
      Effect.annotateLogs({ correlationId })
    )
    return yield* isTraced
      ? Effect.annotateSpans(recorded, { correlationId })
      : Effect.withTracerEnabled(recorded, false)
  })

/** Spans are made for somebody: a collector, or a caller who traces and whose ids go on with what is written. */
const tracedWhenWatched = Layer.effect(
  HttpMiddleware.TracerDisabledWhen,
  Effect.map(
    Tracer.Tracer,
    (tracer) => (request: HttpServerRequest.HttpServerRequest) =>
      tracer === Tracer.nativeTracer && request.headers.traceparent === undefined
  )
)

const cannotListen = (
  { host, port, portVariable }: ServeOptions,
  { cause }: HttpServerError.ServeError
): StartError => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  const place = `port ${port} on ${host}`
  switch (code) {
    case "EADDRINUSE":
      return StartError.failed(
        `${place} is taken by another program: stop that one, or set ${portVariable} to a free port.`
      )
    case "EACCES":
      return StartError.configuration(
        `${place} may not be used by this account: set ${portVariable} to a port above 1023.`
      )
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return StartError.configuration(`${host} is not an address of this machine: set HOLDFAST_HOST to one.`)
    default:
      return StartError.failed(`Cannot listen at ${place}: ${String(code ?? cause)}.`)
  }
}
