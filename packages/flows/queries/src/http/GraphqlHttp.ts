// GraphQL over HTTP on Node's own request and response: this path is the desk's busiest and needs nothing of a router. Everything is
// bounded before it is read, a token is needed for everything, and whatever happens there is one well-formed answer.
import { IncomingMessage, type Server, ServerResponse } from "node:http"
import type { Principal } from "@holdfast/contracts/Principal"
import { Identity } from "@holdfast/identity/Identity"
import { Queries } from "@holdfast/resilience/Limits"
import { Duration, Effect, Exit, Fiber, Redacted } from "effect"
import { Headers, HttpTraceContext } from "effect/http"
import { type Executed, QueryExecutor, type QueryRequest } from "../graphql/Execute.ts"
import { encodeResponse } from "../graphql/JsonText.ts"
import { type AnswerType, json, negotiate } from "./Negotiate.ts"
import { fromBody, fromQueryString, type Parsed } from "./Parameters.ts"

export interface GraphqlHttpOptions {
  /** Origins of web pages that may read answers. */
  readonly allowedOrigins: ReadonlyArray<string>
}

export type NodeHandler = (request: IncomingMessage, response: ServerResponse) => void

/** Ends every response that it is given. */
export const makeHandler = Effect.fnUntraced(function* (options: GraphqlHttpOptions) {
  const executor = yield* QueryExecutor
  const identity = yield* Identity
  const services = yield* Effect.context<never>()
  const runPromise = Effect.runPromiseWith(services)
  const runFork = Effect.runForkWith(services)
  let underWay = 0

  const verified = (request: IncomingMessage): Effect.Effect<Principal | HttpAnswer> => {
    const token = bearerOf(request.headers.authorization)
    if (token === null) return Effect.succeed(unauthenticated)
    return identity.verify(Redacted.make(token)).pipe(
      Effect.map(({ principal }) => principal),
      Effect.catchTags({
        Unauthenticated: () => Effect.succeed(unauthenticated),
        Unavailable: ({ retryAfterMs }) => Effect.succeed(unavailable(retryAfterMs))
      })
    )
  }

  /** The principal, or why there is none; at once for a token that is known. */
  const principalOf = (request: IncomingMessage): Principal | HttpAnswer | Promise<Principal | HttpAnswer> => {
    const fiber = runFork(Effect.withTracerEnabled(verified(request), false))
    const exit = fiber.pollUnsafe()
    return exit !== undefined && Exit.isSuccess(exit) ? exit.value : Effect.runPromise(Fiber.join(fiber))
  }

  /** A query is part of its caller's trace; one that nobody traces makes no spans. */
  const execute = (request: IncomingMessage, principal: Principal, asked: QueryRequest): Promise<Executed> => {
    const { traceparent, "x-correlation-id": correlationId } = request.headers
    const annotations = typeof correlationId === "string" ? { correlationId } : {}
    if (typeof traceparent !== "string") return executor.answer(principal, asked, annotations)
    const parent = HttpTraceContext.fromHeaders(Headers.fromInput({ traceparent }))
    const run = Effect.annotateLogs(executor.execute(principal, asked), annotations)
    return runPromise(parent._tag === "Some" ? Effect.withParentSpan(run, parent.value) : run)
  }

  const answer = async (request: IncomingMessage, type: AnswerType): Promise<HttpAnswer> => {
    const parsed = await parametersOf(request)
    const principal = await principalOf(request)
    if ("status" in principal) return principal
    if (typeof parsed === "string") return refusal(400, "BAD_REQUEST", parsed)
    if ("status" in parsed) return parsed
    const { response, wasRun } = await execute(request, principal, parsed)
    return { status: wasRun || type === json ? 200 : 400, body: response }
  }

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const type = negotiate(request.headers.accept)
    allowOrigin(options, request, response)
    if (type === null)
      return send(
        response,
        json,
        refusal(406, "NOT_ACCEPTABLE", "Accept application/json or application/graphql-response+json.")
      )
    if (underWay >= Queries.underWayMax) return send(response, type, unavailable(Duration.toMillis(Queries.retryAfter)))
    underWay++
    try {
      send(response, type, await answer(request, type))
    } catch (error) {
      await runPromise(
        request.complete
          ? Effect.logError("a GraphQL request failed", error)
          : Effect.logDebug("a client went away before its question was read")
      )
      send(response, type, refusal(500, "INTERNAL", "This failed for a reason of our own; it is being looked into."))
    } finally {
      underWay--
    }
  }
  return ((request, response) => void handle(request, response)) satisfies NodeHandler
})

interface HttpAnswer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
  readonly headers?: Readonly<Record<string, string>>
}

const refusal = (
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {}
): HttpAnswer => ({
  status,
  headers,
  body: { errors: [{ message, extensions: { code } }] }
})

const unauthenticated = refusal(401, "UNAUTHENTICATED", "A valid bearer token is needed.", {
  "www-authenticate": "Bearer"
})

const unavailable = (retryAfterMs: number) =>
  refusal(503, "READ_UNAVAILABLE", "The desk cannot answer this just now; try again.", {
    "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000)))
  })

const allowOrigin = ({ allowedOrigins }: GraphqlHttpOptions, request: IncomingMessage, response: ServerResponse) => {
  const { origin } = request.headers
  if (origin === undefined || !allowedOrigins.includes(origin)) return
  response.setHeader("access-control-allow-origin", origin)
  response.setHeader("vary", "origin")
}

const parametersOf = async (request: IncomingMessage): Promise<Parsed | HttpAnswer> => {
  if (request.method === "GET") {
    const { url = "" } = request
    return fromQueryString(new URLSearchParams(url.slice(url.indexOf("?") + 1)))
  }
  if (request.method !== "POST") return refusal(405, "METHOD_NOT_ALLOWED", "Use GET or POST.", { allow: "GET, POST" })
  if (!isUtf8Json(request.headers["content-type"]))
    return refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Send application/json in UTF-8.")
  const body = await bodyOf(request)
  return body === null
    ? refusal(413, "TOO_LARGE", `A request may have ${Queries.requestBytesMax} bytes.`, { connection: "close" })
    : fromBody(body)
}

const isUtf8Json = (contentType: string | undefined): boolean =>
  contentType === json || /^application\/json\s*(;\s*charset="?utf-?8"?\s*)?$/i.test(contentType ?? "")

/** Null: too large; the rest is not read. */
const bodyOf = (request: IncomingMessage): Promise<string | null> =>
  new Promise((resolve, reject) => {
    const chunks: Array<Buffer> = []
    let bytes = 0
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= Queries.requestBytesMax) chunks.push(chunk)
      else {
        request.removeAllListeners("data").resume()
        resolve(null)
      }
    })
    request.once("end", () => resolve(Buffer.concat(chunks).toString()))
    request.once("error", reject)
    request.once("aborted", () => reject(new Error("the client went away")))
  })

const send = (response: ServerResponse, type: AnswerType, { body, headers, status }: HttpAnswer) => {
  if (response.destroyed || response.headersSent) return
  const text = encodeResponse(body)
  response.writeHead(status, {
    "content-type": `${type}; charset=utf-8`,
    "content-length": Buffer.byteLength(text),
    "cache-control": "no-store",
    ...headers
  })
  response.end(text)
}

/** RFC 6750: the scheme is written in any case. */
const bearerOf = (authorization: string | undefined): string | null => {
  const [, token] = /^bearer +(\S+)$/i.exec(authorization ?? "") ?? []
  return token ?? null
}

const isTo = ({ method, url = "" }: IncomingMessage, path: string): boolean =>
  method !== "OPTIONS" && (url === path || url.startsWith(`${path}?`))

/**
 * Gives the requests to `path` to a handler, after the listeners that the server has by now; every other request goes its way, and so does
 * a preflight, which is not a query.
 */
export const takeRequests = (server: Server, path: string, handler: NodeHandler): void => {
  const before = server.listeners("request")
  const emit = server.emit.bind(server)
  server.emit = (event: string | symbol, ...args: ReadonlyArray<unknown>): boolean => {
    const [request, response] = args
    const isExchange = event === "request" && request instanceof IncomingMessage && response instanceof ServerResponse
    if (!isExchange || !isTo(request, path)) return Reflect.apply(emit, server, [event, ...args])
    for (const listener of before) Reflect.apply(listener, server, args)
    handler(request, response)
    return true
  }
}
