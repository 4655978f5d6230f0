// What an HTTP request asks an event stream for, or why it is refused: GraphQL over HTTP, bounded before it is read. What is wrong with the
// request is said by status; what is wrong with its document is said in the stream, because a browser tells a page nothing of a refusal.
import { IncomingMessage, type Server, ServerResponse } from "node:http"
import { Position } from "@holdfast/contracts/Ids"
import { deadline } from "@holdfast/resilience/Deadline"
import { Realtime } from "@holdfast/resilience/Limits"
import { ByteSize, Effect, Option, Redacted, Schema } from "effect"
import { isOriginAllowed } from "./Upgrade.ts"

export const streamPath = "/graphql/stream"

export interface Refusal {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

export const refusal = (
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {}
): Refusal => ({ status, headers, body: { errors: [{ message, extensions: { code } }] } })

export interface StreamRequest {
  readonly query: string
  readonly operationName: string | null
  readonly variables: Readonly<Record<string, unknown>> | null
  readonly tellsFeed: boolean
}

/** Gives the requests to the stream's path to one handler, after the listeners that the server has by now. */
export const takeStreams = (
  server: Server,
  handle: (request: IncomingMessage, response: ServerResponse) => void
): void => {
  const before = server.listeners("request")
  const emit = server.emit.bind(server)
  server.emit = (event: string | symbol, ...args: ReadonlyArray<unknown>): boolean => {
    const [request, response] = args
    const isExchange = event === "request" && request instanceof IncomingMessage && response instanceof ServerResponse
    if (!isExchange || pathOf(request) !== streamPath) return Reflect.apply(emit, server, [event, ...args])
    for (const listener of before) Reflect.apply(listener, server, args)
    handle(request, response)
    return true
  }
}

const pathOf = ({ url = "" }: IncomingMessage): string => url.split("?", 1)[0] ?? ""

/** A page of another site may not even ask; what a page of ours, or of an allowed origin, may send and read. */
export const corsHeaders = (
  { headers }: IncomingMessage,
  allowedOrigins: ReadonlyArray<string>
): Readonly<Record<string, string>> | null => {
  const { host, origin } = headers
  if (origin === undefined) return {}
  if (!isOriginAllowed(origin, host, allowedOrigins)) return null
  return {
    vary: "origin",
    "access-control-allow-origin": origin,
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "Authorization, Content-Type, Last-Event-ID",
    "access-control-expose-headers": "Retry-After, WWW-Authenticate",
    "access-control-max-age": "600"
  }
}

export const refuseRequest = (request: IncomingMessage, isFull: boolean): Refusal | null => {
  const { headers, method, url = "" } = request
  if (method === "OPTIONS") return { status: 204, headers: {}, body: null }
  if (method !== "GET" && method !== "POST") return refusal(405, "METHOD_NOT_ALLOWED", distinct, { allow: "GET, POST" })
  if (tokenHeader in headers || parametersOf(url).has("token")) return refusal(404, "NO_RESERVATION", distinct)
  if (!acceptsStream(headers.accept)) return refusal(406, "NOT_ACCEPTABLE", elsewhere)
  if (isFull) return refusal(503, "UNAVAILABLE", "This gateway is full; try again.", { "retry-after": "1" })
  return null
}

const tokenHeader = "x-graphql-event-stream-token"
const distinct =
  "Here each operation has a stream of its own (distinct connections mode): send it by POST or GET; there are no reservations."
const elsewhere =
  "This address answers with text/event-stream. Send queries by POST to /graphql of the desk's query API, commands to its command API."

const acceptsStream = (accept = "*/*"): boolean =>
  accept
    .split(",")
    .map((one) =>
      one
        .trim()
        .toLowerCase()
        .split(/\s*;\s*/)
    )
    .some(
      ([type = "", ...parameters]) =>
        ["text/event-stream", "text/*", "*/*"].includes(type) && !parameters.some((one) => /^q=0(\.0*)?$/.test(one))
    )

/** RFC 6750: the scheme is written in any case. Never from the address, which is written into logs. */
export const bearerOf = ({ headers }: IncomingMessage): Redacted.Redacted<string> | null => {
  const [, token] = /^bearer +([\x21-\x7e]+)$/i.exec(headers.authorization ?? "") ?? []
  return token === undefined ? null : Redacted.make(token)
}

/** Where the browser's stream broke: it sends the same address again, with this. */
export const lastEventOf = ({ headers }: IncomingMessage): Option.Option<Position> =>
  decodeLastEvent(headers["last-event-id"])

const decodeLastEvent = Schema.decodeUnknownOption(Schema.NumberFromString.pipe(Schema.decodeTo(Position)))

const Params = Schema.NullOr(Schema.Record(Schema.String, Schema.Unknown))
const Body = Schema.Struct({
  query: Schema.String,
  operationName: Schema.optionalKey(Schema.NullOr(Schema.String)),
  variables: Schema.optionalKey(Params),
  extensions: Schema.optionalKey(Params)
})
const decodeBody = Schema.decodeUnknownOption(Schema.fromJsonString(Body))
const decodeAddress = Schema.decodeUnknownOption(
  Schema.Struct({
    ...Body.fields,
    variables: Schema.optionalKey(Schema.fromJsonString(Params)),
    extensions: Schema.optionalKey(Schema.fromJsonString(Params))
  })
)

export const requestOf = (request: IncomingMessage): Effect.Effect<StreamRequest | Refusal> => {
  if (request.method === "GET") {
    return Effect.succeed(read(decodeAddress(Object.fromEntries(parametersOf(request.url ?? "")))))
  }
  if (!isUtf8Json(request.headers["content-type"]))
    return Effect.succeed(refusal(415, "UNSUPPORTED_MEDIA_TYPE", "Send application/json in UTF-8."))
  return bodyOf(request).pipe(
    deadline(Realtime.initDeadline),
    Effect.map((body) => (body === null ? tooLarge : read(decodeBody(body)))),
    Effect.catchTag("TimeoutError", () => Effect.succeed(tooSlow))
  )
}

const read = (decoded: Option.Option<typeof Body.Type>): StreamRequest | Refusal =>
  Option.match(decoded, {
    onNone: () => refusal(400, "BAD_REQUEST", "Send query, and operationName, variables and extensions as needed."),
    onSome: ({ extensions, operationName, query, variables }) => ({
      query,
      operationName: operationName ?? null,
      variables: variables ?? null,
      tellsFeed: extensions?.feed === true
    })
  })

const bytesMax = ByteSize.toNumberUnsafe(Realtime.messageBytesMax)
const tooLarge = refusal(413, "TOO_LARGE", `A request may have ${bytesMax} bytes.`, { connection: "close" })
const tooSlow = refusal(408, "TOO_SLOW", "The request did not arrive in time.", { connection: "close" })

const parametersOf = (url: string): URLSearchParams => new URLSearchParams(url.split("?", 2)[1] ?? "")

const isUtf8Json = (contentType = ""): boolean =>
  /^application\/json\s*(;\s*charset="?utf-?8"?\s*)?$/i.test(contentType)

/** Null: too large; the rest is not kept. */
const bodyOf = (request: IncomingMessage): Effect.Effect<string | null> =>
  Effect.callback((resume) => {
    const chunks: Array<Buffer> = []
    let bytes = 0
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= bytesMax) chunks.push(chunk)
      else resume(Effect.succeed(null))
    })
    request.once("end", () => resume(Effect.succeed(Buffer.concat(chunks).toString())))
    // Who went away gets no answer, whatever is read of the half that came.
    request.once("close", () => resume(Effect.succeed("")))
  })
