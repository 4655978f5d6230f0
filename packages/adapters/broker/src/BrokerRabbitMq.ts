// The broker on RabbitMQ. One connection per process that heals by itself; the driver's own consumers and publishers, which retry in
// silence, are not used: each stream of deliveries has a channel of its own and fails, typed, as soon as that channel is gone, and a
// failed batch of confirms gives up its channel. So nobody waits on something that is dead, and what was unacknowledged comes back.
import { decodeEnvelope, encodeEnvelope, mediaType } from "@holdfast/contracts/CloudEvent"
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Position } from "@holdfast/contracts/Ids"
import { deadline } from "@holdfast/resilience/Deadline"
import { type Failure, type Guard, makeGuard } from "@holdfast/resilience/Guard"
import { Consumer as ConsumerLimits, Broker as Limits } from "@holdfast/resilience/Limits"
import { Unavailable, type UnavailableReason } from "@holdfast/resilience/Unavailable"
import {
  type Array,
  Cause,
  Duration,
  Effect,
  Exit,
  Layer,
  Option,
  Queue,
  Redacted,
  Result,
  Semaphore,
  Stream
} from "effect"
import { type AsyncMessage, type Channel, Connection } from "rabbitmq-client"
import { Broker, type ConsumerGroup, type Delivery } from "./Broker.ts"
import { makeTopology, routingKeyOf, type Topology } from "./Topology.ts"

export interface RabbitMqOptions {
  /** Names the virtual host, if it is not the default one. */
  readonly url: Redacted.Redacted<string>
  /** Shown by the server among its connections. */
  readonly applicationName: string
  /** Keeps several desks on one virtual host apart. */
  readonly prefix?: string
}

interface Rabbit {
  readonly connection: Connection
  readonly guard: Guard
  readonly topology: Topology
  /** Everything is declared, once per connection. */
  readonly declared: Effect.Effect<void, Unavailable>
}

export const layer = (options: RabbitMqOptions) =>
  Layer.effect(
    Broker,
    Effect.gen(function* () {
      const rabbit = yield* connect(options)
      const publish = yield* makePublish(rabbit)
      return Broker.of({
        publish,
        consume: (group) => consume(rabbit, group),
        changes: makeChanges(rabbit)
      })
    })
  )

const connect = Effect.fnUntraced(function* (options: RabbitMqOptions) {
  const runFork = Effect.runForkWith(yield* Effect.context())
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() => new Connection(connectionOptions(options))),
    (opened) =>
      Effect.andThen(
        closing(() => opened.close()),
        Effect.sync(() => opened.unsafeDestroy())
      )
  )
  connection.on("error", (error) => runFork(Effect.logWarning("RabbitMQ connection", describe(error))))
  const guard = yield* makeGuard({
    dependency: "broker",
    deadline: Limits.callDeadline,
    concurrencyMax: Limits.callsUnderWayMax,
    acquireDeadline: Limits.acquireDeadline,
    probe: promise(() => connection.exchangeDeclare({ exchange: "amq.topic", passive: true })),
    toFailure
  })
  const topology = makeTopology(options.prefix ?? "holdfast")
  return { connection, guard, topology, declared: yield* makeDeclared(connection, topology) } satisfies Rabbit
})

const connectionOptions = (options: RabbitMqOptions) => ({
  url: Redacted.value(options.url),
  connectionName: options.applicationName,
  connectionTimeout: Duration.toMillis(Limits.connectDeadline),
  acquireTimeout: Duration.toMillis(Limits.connectDeadline),
  heartbeat: Limits.heartbeatSeconds,
  retryLow: Duration.toMillis(Limits.reconnectMin),
  retryHigh: Duration.toMillis(Limits.reconnectMax),
  noDelay: true
})

/** A server that lost its data, or another one, comes with a new connection. */
const makeDeclared = Effect.fnUntraced(function* (connection: Connection, topology: Topology) {
  const one = yield* Semaphore.make(1)
  let connections = 0
  let declaredOn = -1
  connection.on("connection", () => {
    connections++
  })
  const declare = Effect.scoped(
    Effect.gen(function* () {
      const channel = yield* openChannel(connection)
      const current = connections
      yield* promise(() => topology.declare(channel))
      yield* settle(connection, channel, topology)
      declaredOn = current
    })
  )
  return Effect.suspend(() => (declaredOn === connections ? Effect.void : declare)).pipe(Semaphore.withPermit(one))
})

// RabbitMQ answers a declaration before the queue's name is on disk. Killed in between, it starts the queue anew, empty and without a
// leader for good, and what it had confirmed is gone: so nothing is published before new queues have had the time to get there.
const settle = Effect.fnUntraced(function* (connection: Connection, channel: Channel, { settled }: Topology) {
  if (yield* exchangeExists(connection, settled)) return
  yield* Effect.sleep(Limits.settleDelay)
  yield* promise(() => channel.exchangeDeclare({ exchange: settled, type: "fanout", durable: true }))
})

/** On a channel of its own, which the server closes if not. */
const exchangeExists = (connection: Connection, exchange: string) =>
  Effect.scoped(
    Effect.flatMap(openChannel(connection), (channel) =>
      promise(() =>
        channel.exchangeDeclare({ exchange, passive: true }).then(
          () => true,
          (error) => {
            if (codeOf(error) === "NOT_FOUND") return false
            throw error
          }
        )
      )
    )
  )

const openChannel = (connection: Connection) =>
  Effect.acquireRelease(
    promise(async () => {
      const channel = await connection.acquire({ emitErrorsFromChannel: true })
      // Why a channel was closed reaches its users through what they await; an unheard event would end the process.
      channel.on("error", () => {})
      return channel
    }),
    (channel) => closing(() => channel.close())
  )

/** Releases without waiting for a server that does not answer. */
const closing = (close: () => Promise<unknown>) => Effect.ignore(deadline(Limits.closeDeadline)(promise(close)))

const promise = <A>(evaluate: () => Promise<A>): Effect.Effect<A, Unavailable> =>
  Effect.tryPromise({ try: evaluate, catch: asUnavailable })

const makePublish = Effect.fnUntraced(function* (rabbit: Rabbit) {
  const one = yield* Semaphore.make(1)
  let open: Channel | null = null
  const drop = Effect.suspend(() => {
    const dropped = open
    open = null
    return dropped === null ? Effect.void : Effect.forkDetach(closing(() => dropped.close()))
  })
  yield* Effect.addFinalizer(() => drop)
  const dropOnFailure = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.onExit(self, (exit) => (Exit.isFailure(exit) ? drop : Effect.void))
  // Declaring comes after the channel is there, on the same connection: a server that has just started may be up before its queues
  // are, and only an answered declaration says that they are there to take what is published.
  const channel = Effect.gen(function* () {
    if (open?.active === true) return open
    const acquired = yield* promise(() => rabbit.connection.acquire({ emitErrorsFromChannel: true }))
    acquired.on("error", () => {})
    open = acquired
    yield* rabbit.declared
    yield* promise(() => acquired.confirmSelect())
    return acquired
  }).pipe(dropOnFailure)
  const sendAll = (confirming: Channel, envelopes: Array.NonEmptyReadonlyArray<Envelope>) =>
    // Some confirmed and some not: the rest of this channel's promises are worth nothing.
    promise(() => Promise.all(envelopes.map((envelope) => send(rabbit.topology, confirming, envelope)))).pipe(
      dropOnFailure
    )
  return Effect.fn("Broker.publish")((envelopes: Array.NonEmptyReadonlyArray<Envelope>) =>
    rabbit.guard.call(channel, { deadline: Limits.declareDeadline }).pipe(
      Effect.flatMap((confirming) => rabbit.guard.call(sendAll(confirming, envelopes))),
      Semaphore.withPermit(one),
      Effect.asVoid
    )
  )
})

const send = (topology: Topology, channel: Channel, envelope: Envelope) =>
  channel.basicPublish(
    {
      exchange: topology.events,
      routingKey: routingKeyOf(envelope),
      durable: true,
      contentType: mediaType,
      messageId: envelope.eventId
    },
    Buffer.from(encodeEnvelope(envelope))
  )

/** A channel to consume on and the queue that its messages come by; the queue fails when the channel is gone. */
const openConsumer = Effect.fnUntraced(function* <A>(rabbit: Rabbit, countMax: number) {
  const channel = yield* openChannel(rabbit.connection)
  // The server sends no more than the prefetch, so this never overflows.
  const arrived = yield* Queue.bounded<A, Unavailable>(countMax)
  const fail = (detail: string) => {
    Queue.failCauseUnsafe(arrived, Cause.fail(unavailable("connection_lost", detail)))
  }
  channel.once("close", () => fail("the channel was closed"))
  channel.once("basic.cancel", () => fail("the server took the queue away"))
  return { channel, arrived }
})

const consume = (rabbit: Rabbit, group: ConsumerGroup): Stream.Stream<Delivery, Unavailable> => {
  const queues = rabbit.topology.queues(group)
  const prefetchCount = Math.max(1, Math.floor(ConsumerLimits.prefetchEventsMax / queues.length))
  const open = Effect.gen(function* () {
    yield* rabbit.declared
    const { channel, arrived } = yield* openConsumer<Delivery>(rabbit, ConsumerLimits.prefetchEventsMax)
    yield* promise(() => channel.basicQos({ prefetchCount }))
    for (const [partition, queue] of queues.entries()) {
      yield* promise(() => channel.basicConsume({ queue }, (message) => deliver(channel, arrived, partition, message)))
    }
    return Stream.fromQueue(arrived)
  })
  return guardedStream(rabbit, open)
}

const guardedStream = <A, R>(rabbit: Rabbit, open: Effect.Effect<Stream.Stream<A, Unavailable>, Unavailable, R>) =>
  Stream.unwrap(rabbit.guard.call(open, { deadline: Limits.declareDeadline }))

const deliver = (
  channel: Channel,
  arrived: Queue.Queue<Delivery, Unavailable>,
  partition: number,
  message: AsyncMessage
): void => {
  const read = readMessage(message)
  // Written by a newer release: this version may neither skip nor park what it cannot read, so the group stands still, visibly.
  if (Result.isFailure(read)) {
    Queue.failCauseUnsafe(arrived, Cause.fail(read.failure))
    return
  }
  const { deliveryTag, redelivered } = message
  Queue.offerUnsafe(arrived, {
    envelope: read.success,
    redelivered,
    partition,
    ack: attemptNow(() => channel.basicAck({ deliveryTag })),
    requeue: attemptNow(() => channel.basicNack({ deliveryTag, requeue: true }))
  })
}

const readMessage = (message: AsyncMessage): Result.Result<Envelope, Unavailable> =>
  Result.mapError(decodeEnvelope(Buffer.isBuffer(message.body) ? message.body.toString("utf8") : ""), (error) =>
    unavailable("refused", `event ${message.messageId ?? "without id"} cannot be read here: ${error.detail}`)
  )

/** Written to the socket without an answer: only a closed channel is noticed, and then the delivery comes back. */
const attemptNow = (write: () => void) => Effect.try({ try: write, catch: asUnavailable })

interface Seen {
  readonly position: Position
  readonly offset: number
}

const makeChanges = (rabbit: Rabbit) => {
  /** Where in the stream queue this process has read a position, so that going on need not start at the window's first. */
  let seen: Seen | null = null
  const remember = (read: Seen) => {
    if (seen === null || read.position > seen.position) seen = read
  }
  return (after: Option.Option<Position>): Stream.Stream<Envelope, Unavailable> =>
    guardedStream(
      rabbit,
      Effect.gen(function* () {
        yield* rabbit.declared
        const { channel, arrived } = yield* openConsumer<AsyncMessage>(rabbit, Limits.changesPrefetchMax)
        yield* promise(() => channel.basicQos({ prefetchCount: Limits.changesPrefetchMax }))
        const offset = Option.isSome(after) && seen !== null && seen.position <= after.value ? seen.offset : "first"
        yield* promise(() =>
          channel.basicConsume(
            { queue: rabbit.topology.changes, arguments: { "x-stream-offset": offset } },
            (message) => {
              Queue.offerUnsafe(arrived, message)
            }
          )
        )
        const next = makeGapless(after, remember)
        const take = Queue.takeAll(arrived).pipe(
          Effect.tap((messages) => acknowledgeAll(channel, messages)),
          Effect.flatMap((messages) => Effect.fromResult(next(messages))),
          Effect.tapError(() =>
            Effect.sync(() => {
              seen = null
            })
          )
        )
        return Stream.flattenIterable(Stream.fromEffectRepeat(take))
      })
    )
}

const acknowledgeAll = (channel: Channel, messages: Array.NonEmptyReadonlyArray<AsyncMessage>) =>
  attemptNow(() => {
    const last = messages[messages.length - 1]
    if (last !== undefined) channel.basicAck({ deliveryTag: last.deliveryTag, multiple: true })
  })

/** Leaves out what came before and fails at a gap. */
const makeGapless = (after: Option.Option<Position>, remember: (seen: Seen) => void) => {
  let last = Option.getOrNull(after)
  return (messages: ReadonlyArray<AsyncMessage>): Result.Result<ReadonlyArray<Envelope>, Unavailable> => {
    const fresh: globalThis.Array<Envelope> = []
    for (const message of messages) {
      const read = readMessage(message)
      if (Result.isFailure(read)) return Result.fail(read.failure)
      const { position } = read.success
      if (last !== null && position <= last) continue
      if (last !== null && position > last + 1) {
        return Result.fail(unavailable("refused", `the change feed goes on at ${position}, not after ${last}`))
      }
      last = position
      fresh.push(read.success)
      const offset = message.headers?.["x-stream-offset"]
      if (typeof offset === "number") remember({ position, offset })
    }
    return Result.succeed(fresh)
  }
}

const unavailable = (reason: UnavailableReason, detail: string) =>
  new Unavailable({ dependency: "broker", reason, detail, retryAfterMs: Duration.toMillis(Limits.reconnectMin) })

const asUnavailable = (error: unknown): Unavailable => {
  const { detail, reason } = toFailure(error)
  return unavailable(reason, detail)
}

/** Every error of the driver means that the broker did not do what was asked. */
const toFailure = (error: unknown): Failure => {
  const code = codeOf(error)
  if (/^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|TIMEOUT|CONNECTION_TIMEOUT)$/.test(code))
    return { reason: "unreachable", detail: describe(error) }
  if (/^(CH_CLOSE|CONN_CLOSE|SOCKET_TIMEOUT|READ_END|ECONNRESET|EPIPE|CONNECTION_FORCED|CLOSING)$/.test(code))
    return { reason: "connection_lost", detail: describe(error) }
  return { reason: "refused", detail: describe(error) }
}

const codeOf = (error: unknown): string =>
  typeof error === "object" && error !== null && "code" in error ? String(error.code) : ""

const describe = (error: unknown): string => (error instanceof Error ? error.message : "unknown error")
