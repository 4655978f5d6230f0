// The gateway: takes WebSocket upgrades and requests for event streams, knows every connection, and keeps them while the broker and the
// databases are away. Before a client has shown a valid token it gets nothing but the handshake, and it has a few seconds for that. A
// stop sends everybody elsewhere, with their cursors.
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import type { Broker } from "@holdfast/broker/Broker"
import type { Signals } from "@holdfast/broker/Signals"
import type { Principal } from "@holdfast/contracts/Principal"
import { GraphqlExecutor, type GraphqlRequest, type GraphqlResponse } from "@holdfast/contracts/wire/GraphqlExecutor"
import { Identity } from "@holdfast/identity/Identity"
import { deadline } from "@holdfast/resilience/Deadline"
import { Realtime } from "@holdfast/resilience/Limits"
import { ByteSize, Context, Duration, Effect, Latch, Layer, Option, Random, Redacted, Schema } from "effect"
import { handleProtocols } from "graphql-ws"
import { type WebSocket, WebSocketServer } from "ws"
import { catchUp } from "./CatchUp.ts"
import {
  badMessage,
  identityUnavailable,
  ofProtocol,
  restarted,
  resumeElsewhere,
  tooManyConnections,
  tooManyMessages,
  unauthenticated
} from "./Closing.ts"
import { Connection } from "./Connection.ts"
import { type Feed, makeFeed, runFeed } from "./Feed.ts"
import { Hub } from "./Hub.ts"
import { hearPresence, keepPresence, makePresence, type PresenceService, tellPresence } from "./PresenceService.ts"
import { makeProtocol } from "./Protocol.ts"
import { connections as connectionsMetric, feedLive, groups, windowEvents } from "./RealtimeMetrics.ts"
import { relieve } from "./Relieve.ts"
import { Socket } from "./Socket.ts"
import { makeStreams } from "./Streams.ts"
import { mayUpgrade, refuseUpgrade } from "./Upgrade.ts"

export interface GatewayOptions {
  /** Browsers may connect from these origins besides the gateway's own. */
  readonly allowedOrigins: ReadonlyArray<string>
  /** `Realtime.connectionsMax` unless told. */
  readonly connectionsMax?: number
  /** `Realtime.windowEventsMax` unless told. */
  readonly windowEventsMax?: number
}

export interface GatewayStatus {
  readonly connections: number
  readonly groups: number
  readonly feed: ReturnType<Feed["report"]>
}

export class Gateway extends Context.Service<
  Gateway,
  {
    /** Answers every upgrade given to it, if only by a refusal. */
    handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
    /** Answers every request for an event stream given to it, if only by a refusal. */
    handleStream(request: IncomingMessage, response: ServerResponse): void
    readonly status: Effect.Effect<GatewayStatus>
  }
>()("@holdfast/realtime/Gateway") {}

export const layer = (
  options: GatewayOptions
): Layer.Layer<Gateway, never, Broker | Signals | GraphqlExecutor | Identity> => Layer.effect(Gateway, make(options))

/** Everything that is open, for the loops that go over it. */
interface Open {
  readonly hub: Hub
  readonly feed: Feed
  readonly connections: Set<Connection>
  readonly byPrincipal: Map<string, number>
  isDraining: boolean
  /** Opens when a stop has seen the last socket go. */
  readonly emptied: Latch.Latch
}

const make = Effect.fnUntraced(function* (options: GatewayOptions) {
  const wake = yield* Latch.make(false)
  const bounds = {
    eventsMax: options.windowEventsMax ?? Realtime.windowEventsMax,
    bytesMax: ByteSize.toNumberUnsafe(Realtime.windowBytesMax),
    ageMsMax: Duration.toMillis(Realtime.windowAgeMax),
    catchUpEventsMax: Realtime.catchUpEventsMax,
    catchUpBufferedBytesMax: ByteSize.toNumberUnsafe(Realtime.catchUpBufferedBytesMax),
    catchUpMsMax: Duration.toMillis(Realtime.catchUpDeadline),
    encodedBytesMax: ByteSize.toNumberUnsafe(Realtime.encodedBytesMax)
  }
  const hub = new Hub(bounds, () => wake.openUnsafe())
  const feed = yield* makeFeed(hub)
  const open: Open = {
    hub,
    feed,
    connections: new Set(),
    byPrincipal: new Map(),
    isDraining: false,
    emptied: yield* Latch.make(false)
  }
  const isFull = () => open.isDraining || open.connections.size >= (options.connectionsMax ?? Realtime.connectionsMax)
  const presence = yield* makePresence
  const accept = yield* makeAccept(open, presence)
  const handleStream = yield* makeStreams({
    hub,
    feed,
    presence,
    allowedOrigins: options.allowedOrigins,
    isFull,
    opened: (connection) => open.connections.add(connection),
    closed: (connection) => forget(open, connection),
    authenticate: (connection, token) => authenticate(open, connection, token)
  })
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: ByteSize.toNumberUnsafe(Realtime.messageBytesMax),
    handleProtocols,
    perMessageDeflate: false,
    // What a message ends has ended before the next one is read: graphql-ws would take a used id that is free again for the old one.
    allowSynchronousEvents: false,
    clientTracking: false
  })
  yield* forever("feed", runFeed(hub, feedEvents(open)))
  yield* forever("catch up", catchUp(hub, feed, wake))
  yield* forever("sweep", sweep(open))
  yield* forever("presence", keepPresence(presence.hub))
  yield* forever("hearing presence", hearPresence(presence.hub))
  // After everybody was sent elsewhere.
  yield* Effect.addFinalizer(() => tellPresence(presence.hub))
  yield* Effect.addFinalizer(() => drain(open))
  return Gateway.of({
    handleUpgrade: (request, socket, head) => {
      const refusal = mayUpgrade(request, options.allowedOrigins, isFull())
      if (refusal !== null) return refuseUpgrade(socket, refusal)
      server.handleUpgrade(request, socket, head, (opened) => accept(opened, socket))
    },
    handleStream,
    status: Effect.sync(() => ({ connections: open.connections.size, groups: hub.groupCount, feed: feed.report(true) }))
  })
})

/** A loop that fails has a bug: it is told, and the loop goes on, because every client depends on it. */
const forever = <R>(name: string, loop: Effect.Effect<never, never, R>) =>
  loop.pipe(
    Effect.tapDefect((cause) => Effect.logError(`the ${name} loop failed`, cause)),
    Effect.catchDefect(() => Effect.sleep(Realtime.reconnectDelayMax)),
    Effect.forever,
    Effect.forkScoped
  )

const feedEvents = (open: Open) => ({
  stateChanged: () => {
    for (const connection of open.connections) connection.ping()
  },
  broken: () => {
    for (const connection of open.connections) connection.close(restarted)
  }
})

const makeAccept = Effect.fnUntraced(function* (open: Open, presence: PresenceService) {
  const run = Effect.runPromiseWith(yield* Effect.context<Identity | GraphqlExecutor>())
  const protocol = makeProtocol({
    hub: open.hub,
    authenticate: (connection, params) => run(authenticate(open, connection, tokenOf(params))),
    query: (principal, request) => run(query(principal, request)),
    presence
  })
  return (socket: WebSocket, line: Duplex): void => {
    const connection = new Connection(new Socket(socket, line), open.feed)
    open.connections.add(connection)
    // ws closes the socket after each of its errors; the code says why.
    socket.on("error", () => connection.end())
    const closed = protocol.opened(
      {
        protocol: socket.protocol,
        send: async (message) => connection.send(message),
        close: (code, reason) => connection.close(ofProtocol(code ?? 1000, reason ?? "")),
        onMessage: (handle) => {
          socket.on("message", (data, isBinary) => {
            if (!connection.isOpen || connection.hasExpired()) return
            if (!connection.heard()) return connection.close(tooManyMessages)
            if (isBinary) return connection.close(badMessage)
            // graphql-ws throws at a message that only a server may send; then it is the client's fault.
            handle(String(data)).catch(() => connection.close(badMessage))
          })
        }
      },
      { connection }
    )
    socket.once("close", (code, reason) => {
      forget(open, connection)
      void closed(code, String(reason))
    })
  }
})

const forget = ({ byPrincipal, connections, emptied, isDraining }: Open, connection: Connection): void => {
  connection.end()
  connections.delete(connection)
  if (isDraining && connections.size === 0) emptied.openUnsafe()
  if (connection.principal === null) return
  const count = (byPrincipal.get(connection.principal.id) ?? 0) - 1
  if (count > 0) byPrincipal.set(connection.principal.id, count)
  else byPrincipal.delete(connection.principal.id)
}

const InitPayload = Schema.Struct({
  authorization: Schema.String.check(Schema.isPattern(/^Bearer [\x21-\x7e]{1,16384}$/))
})
const decodeInit = Schema.decodeUnknownOption(InitPayload)

const tokenOf = (params: unknown): Redacted.Redacted<string> | null =>
  Option.match(decodeInit(params), {
    onNone: () => null,
    onSome: ({ authorization }) => Redacted.make(authorization.slice("Bearer ".length))
  })

const authenticate = Effect.fn("Gateway.authenticate")(function* (
  open: Open,
  connection: Connection,
  token: Redacted.Redacted<string> | null
) {
  const refuse = (closing: Parameters<Connection["close"]>[0]) =>
    Effect.sync(() => connection.close(closing)).pipe(Effect.as(null))
  if (token === null) return yield* refuse(unauthenticated)
  const identity = yield* Identity
  return yield* identity.verify(token).pipe(
    deadline(Realtime.verifyDeadline),
    Effect.map(({ expiresAtSeconds, principal }) => admit(open, connection, principal, expiresAtSeconds * 1000)),
    Effect.catchTags({
      Unauthenticated: () => refuse(unauthenticated),
      Unavailable: ({ retryAfterMs }) => refuse(identityUnavailable(retryAfterMs)),
      TimeoutError: () => refuse(identityUnavailable(Duration.toMillis(Realtime.verifyDeadline)))
    })
  )
})

const admit = (open: Open, connection: Connection, principal: Principal, expiresAtMs: number) => {
  if (!connection.isOpen) return null
  const count = open.byPrincipal.get(principal.id) ?? 0
  if (count >= Realtime.connectionsPerPrincipalMax) {
    connection.close(tooManyConnections)
    return null
  }
  open.byPrincipal.set(principal.id, count + 1)
  connection.authenticated(principal, expiresAtMs)
  return { feed: open.feed.report(true) }
}

const query = Effect.fn("Gateway.query")(function* (principal: Principal, request: GraphqlRequest) {
  const executor = yield* GraphqlExecutor
  return yield* executor.execute(principal, request).pipe(
    deadline(Realtime.queryDeadline),
    Effect.catchTag("TimeoutError", () => Effect.succeed(queryTimedOut)),
    Effect.tapDefect((cause) => Effect.logError("a query failed", cause)),
    Effect.catchDefect(() => Effect.succeed(queryFailed))
  )
})

const queryTimedOut: GraphqlResponse = {
  errors: [{ message: "The query took too long.", extensions: { code: "READ_UNAVAILABLE" } }]
}

const queryFailed: GraphqlResponse = {
  errors: [
    {
      message: "This failed for a reason of our own; it is being looked into.",
      extensions: { code: "INTERNAL" }
    }
  ]
}

const sweep = (open: Open) =>
  Effect.gen(function* () {
    const nowMs = open.feed.nowMs()
    open.hub.expire(nowMs)
    for (const connection of open.connections) connection.sweep(nowMs)
    relieve(open.connections, ByteSize.toNumberUnsafe(Realtime.bufferedBytesTotalMax))
    yield* connectionsMetric(open.connections.size)
    yield* groups(open.hub.groupCount)
    yield* windowEvents(open.hub.window.size)
    yield* feedLive(open.hub.state === "live" ? 1 : 0)
    yield* Effect.sleep(Realtime.sweepInterval)
  }).pipe(Effect.forever)

/** Sends everybody elsewhere, spread out so that the other copies are not met by all in one moment. */
const drain = Effect.fn("Gateway.drain")(function* (open: Open) {
  open.isDraining = true
  const all = [...open.connections]
  const spreadMs = Math.min(Duration.toMillis(Realtime.drainSpreadMax), all.length)
  const perStep = Math.max(1, Math.ceil((all.length * drainStepMs) / Math.max(1, spreadMs)))
  for (let at = 0; at < all.length; at += perStep) {
    for (const connection of all.slice(at, at + perStep)) {
      const adviceMs = yield* Random.nextIntBetween(0, Duration.toMillis(Realtime.reconnectAdviceMax))
      connection.close(resumeElsewhere(adviceMs))
    }
    if (at + perStep < all.length) yield* Effect.sleep(Duration.millis(drainStepMs))
  }
  if (all.length > 0) yield* open.emptied.await.pipe(Effect.timeoutOption(Realtime.drainCloseDeadline))
  for (const connection of open.connections) connection.terminate()
})

const drainStepMs = 50
