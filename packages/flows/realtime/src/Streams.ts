// Takes requests for event streams: for lines on which WebSockets do not live. A stream is a connection like any other, with the same
// groups, window, limits and ends; only how it is carried differs. Before a client has shown a valid token nothing of what it sent is read.
import type { IncomingMessage, ServerResponse } from "node:http"
import { Realtime } from "@holdfast/resilience/Limits"
import { Duration, Effect, Option, Random, type Redacted } from "effect"
import { GraphQLError, getOperationAST } from "graphql"
import { restarted } from "./Closing.ts"
import { Connection } from "./Connection.ts"
import { EventStream, type Told } from "./EventStream.ts"
import type { Feed } from "./Feed.ts"
import type { Hub, Operation } from "./Hub.ts"
import { parseDocument, prepareSubscription } from "./Operations.ts"
import type { PresenceOperation } from "./PresenceHub.ts"
import type { PresenceService } from "./PresenceService.ts"
import { ResyncRequired } from "./ResyncRequired.ts"
import {
  bearerOf,
  corsHeaders,
  lastEventOf,
  refusal,
  refuseRequest,
  requestOf,
  type StreamRequest
} from "./StreamRequest.ts"

export interface StreamsOptions<R> {
  readonly hub: Hub
  readonly feed: Feed
  readonly presence: PresenceService
  readonly allowedOrigins: ReadonlyArray<string>
  readonly isFull: () => boolean
  /** It counts from here on. */
  readonly opened: (connection: Connection) => void
  readonly closed: (connection: Connection) => void
  /** Null when the connection was closed instead. */
  readonly authenticate: (
    connection: Connection,
    token: Redacted.Redacted<string> | null
  ) => Effect.Effect<unknown, never, R>
}

/** Answers every request that it is given. */
export const makeStreams = Effect.fnUntraced(function* <R>(options: StreamsOptions<R>) {
  const run = Effect.runForkWith(yield* Effect.context<R>())
  return (request: IncomingMessage, response: ServerResponse) => {
    const cors = corsHeaders(request, options.allowedOrigins)
    for (const [name, value] of Object.entries(cors ?? {})) response.setHeader(name, value)
    const stream = new EventStream(response, () => connection.took())
    const connection = new Connection(stream, options.feed)
    const refused =
      cors === null
        ? refusal(403, "FORBIDDEN", "This page may not ask here.")
        : refuseRequest(request, options.isFull())
    if (refused !== null) return stream.refuse(refused)
    options.opened(connection)
    response.once("close", () => options.closed(connection))
    run(
      serve(options, connection, stream, request).pipe(
        Effect.tapDefect((cause) => Effect.logError("an event stream failed", cause)),
        Effect.catchDefect(() => Effect.sync(() => connection.close(restarted)))
      )
    )
  }
})

const serve = Effect.fn("Gateway.stream")(function* <R>(
  options: StreamsOptions<R>,
  connection: Connection,
  stream: EventStream,
  request: IncomingMessage
) {
  const admitted = yield* options.authenticate(connection, bearerOf(request))
  if (admitted === null || connection.principal === null) return
  const asked = yield* requestOf(request)
  if ("status" in asked) return stream.refuse(asked)
  const retryMs = yield* Random.nextIntBetween(
    Duration.toMillis(Realtime.streamRetryMin),
    Duration.toMillis(Realtime.reconnectAdviceMax)
  )
  const reader = connection.principal
  const operation = yield* Effect.promise(() => operationOf(asked))
  if (!connection.isOpen) return
  stream.begin({ retryMs, tellsFeed: asked.tellsFeed })
  if (isErrors(operation)) return stream.fail(operation.map((error) => error.toJSON()))
  const run =
    "presenceOf" in operation
      ? connection.runPresence(options.presence, "", operation, reader)
      : connection.run(options.hub, "", resumed(operation, request), reader)
  run.next().catch((error: unknown) => stream.fail([toldOf(error)]))
  connection.ping()
})

const resumed = (operation: Operation, request: IncomingMessage): Operation => ({
  ...operation,
  after: Option.getOrElse(lastEventOf(request), () => operation.after)
})

const isErrors = (
  value: Operation | PresenceOperation | ReadonlyArray<GraphQLError>
): value is ReadonlyArray<GraphQLError> => Array.isArray(value)

const operationOf = async (
  asked: StreamRequest
): Promise<Operation | PresenceOperation | ReadonlyArray<GraphQLError>> => {
  try {
    const document = parseDocument(asked.query)
    const kind = getOperationAST(document, asked.operationName)?.operation
    if (kind !== "subscription") return [kind === undefined ? unnamed() : refused(elsewhere)]
    return await prepareSubscription(document, { ...asked, variables: asked.variables })
  } catch (error) {
    return [error instanceof GraphQLError ? error : refused("The document cannot be read.")]
  }
}

const refused = (message: string) => new GraphQLError(message, { extensions: { code: "BAD_USER_INPUT" } })

const elsewhere =
  "A stream carries subscriptions. Send queries by POST to /graphql of the desk's query API, commands to its command API."

const unnamed = () => refused("The document has no such operation; where it has several, operationName says which.")

const toldOf = (error: unknown): Told => {
  if (error instanceof ResyncRequired) return error.formatted
  if (error instanceof GraphQLError) return error.toJSON()
  return { message: "This failed for a reason of our own; it is being looked into.", extensions: { code: "INTERNAL" } }
}
