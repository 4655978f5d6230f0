// The broker on RabbitMQ. One connection per process that heals by itself; the driver's own consumers and publishers, which retry in
// silence, are not used: each stream of deliveries has a channel of its own and fails, typed, as soon as that channel is gone, and a
// failed batch of confirms gives up its channel. So nobody waits on something that is dead, and what was unacknowledged comes back.
// Publishing has a connection of its own, because a server that runs out of memory or disk stops reading from whoever publishes: the
// acknowledgements that would relieve it must still get through. The queues are copies: what RabbitMQ loses is published again from
// the event log, from the lowest position that some group has not handled (`layerOnLog`).
import { decodeEnvelope, encodeEnvelope, mediaType } from "@holdfast/contracts/CloudEvent"
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Position } from "@holdfast/contracts/Ids"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { EventLog } from "@holdfast/database/EventLog"
import { deadline } from "@holdfast/resilience/Deadline"
import { type Failure, type Guard, makeGuard } from "@holdfast/resilience/Guard"
import { Health } from "@holdfast/resilience/Health"
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
  Scope,
  Semaphore,
  Stream
} from "effect"
import { type AsyncMessage, type Channel, Connection } from "rabbitmq-client"
import { Broker, type ConsumerGroup, type Delivery } from "./Broker.ts"
import { type Handled, makeHandled } from "./Handled.ts"
import { makeRefill, type Refill } from "./Refill.ts"
import { makeTopology, routingKeyOf, type Topology } from "./Topology.ts"

export interface RabbitMqOptions {
  /**
   * Names the virtual host, if it is not the default one. Several URLs, with commas between them, are the nodes of one cluster: each
   * attempt to connect asks the next one. User, password and virtual host are those of the first.
   */
  readonly url: Redacted.Redacted<string>
  /** Shown by the server among its connections. */
  readonly applicationName: string
  /** Keeps several desks on one virtual host apart. */
  readonly prefix?: string
}

interface Rabbit {
  readonly options: RabbitMqOptions
  readonly connection: Connection
  readonly guard: Guard
  readonly topology: Topology
  /** Everything is declared, once per connection. */
  readonly declared: Effect.Effect<void, Unavailable>
  /** Who waits for deliveries. A server that hangs says nothing, and so would they until the heartbeat fails: they are told sooner. */
  readonly waiting: Set<(why: Unavailable) => void>
}

/** For who reads the change feed. */
export const layer = (options: RabbitMqOptions) => Layer.effect(Broker, make(options, null))

/** For who consumes or publishes: notes how far each group has come, and fills from the log what RabbitMQ has lost. */
export const layerOnLog = (options: RabbitMqOptions) =>
  Layer.effect(
    Broker,
    Effect.gen(function* () {
      const cursors = yield* ConsumerCursors
      const refill = makeRefill(yield* EventLog, cursors)
      return yield* make(options, { refill, handled: (group) => makeHandled(cursors, group) })
    })
  )

interface OnLog {
  readonly refill: Refill
  readonly handled: (group: ConsumerGroup) => Handled
}

const make = Effect.fnUntraced(function* (options: RabbitMqOptions, onLog: OnLog | null) {
  const rabbit = yield* connect(options)
  const publish = yield* makePublish(rabbit, onLog?.refill ?? null)
  return Broker.of({
    publish,
    consume: (group) => consume(rabbit, group, onLog?.handled(group) ?? null),
    changes: makeChanges(rabbit)
  })
})

const connect = Effect.fnUntraced(function* (options: RabbitMqOptions) {
  const waiting = new Set<(why: Unavailable) => void>()
  const connection = yield* openConnection(options)
  const guard = yield* makeGuard({
    dependency: "broker",
    deadline: Limits.callDeadline,
    concurrencyMax: Limits.callsUnderWayMax,
    acquireDeadline: Limits.acquireDeadline,
    probe: promise(() => connection.exchangeDeclare({ exchange: "amq.topic", passive: true })),
    probeDeadline: Limits.probeDeadline,
    watch: { quietMax: Limits.quietMax, onSilence: (why) => Effect.sync(() => tellAll(waiting, why)) },
    toFailure
  })
  const topology = makeTopology(options.prefix ?? "holdfast")
  const declared = yield* makeDeclared(connection, topology)
  return { options, connection, guard, topology, declared, waiting } satisfies Rabbit
})

const tellAll = (waiting: Rabbit["waiting"], why: Unavailable) => {
  for (const tell of waiting) tell(why)
}

const openConnection = Effect.fnUntraced(function* (options: RabbitMqOptions) {
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
  return connection
})

const connectionOptions = (options: RabbitMqOptions) => {
  const urls = Redacted.value(options.url).split(/,(?=amqps?:)/)
  return {
    url: urls[0] ?? "",
    ...(urls.length > 1 ? { hosts: urls.map((url) => new URL(url).host) } : {}),
    connectionName: options.applicationName,
    connectionTimeout: Duration.toMillis(Limits.connectDeadline),
    acquireTimeout: Duration.toMillis(Limits.connectDeadline),
    heartbeat: Limits.heartbeatSeconds,
    retryLow: Duration.toMillis(Limits.reconnectMin),
    retryHigh: Duration.toMillis(Limits.reconnectMax),
    noDelay: true
  }
}

/** A server that lost its data, or another one, comes with a new connection. */
const makeDeclared = Effect.fnUntraced(function* (connection: Connection, topology: Topology) {
  const one = yield* Semaphore.make(1)
  let connections = 0
  let declaredOn = -1
  connection.on("connection", () => {
    connections++
  })
  const declare = Effect.gen(function* () {
    const current = connections
    // What is missing of settled queues, only the publisher makes again: it knows then that they begin empty.
    if (!(yield* exchangeExists(connection, topology.settled))) yield* declareAnew(connection, topology)
    declaredOn = current
  })
  return Effect.suspend(() => (declaredOn === connections ? Effect.void : declare)).pipe(Semaphore.withPermit(one))
})

// RabbitMQ answers a declaration before the queue's name is on disk. Killed in between, it starts the queue anew, empty and without a
// leader for good, and what it had confirmed is gone: so nothing is published before new queues have had the time to get there. That
// they begin empty is said first.
const declareAnew = (connection: Connection, { declare, lost, settled }: Topology) =>
  Effect.scoped(
    Effect.gen(function* () {
      const channel = yield* openChannel(connection)
      yield* promise(() => channel.exchangeDeclare({ exchange: lost, type: "fanout", durable: true }))
      yield* promise(() => declare(channel))
      yield* Effect.sleep(Limits.settleDelay)
      yield* promise(() => channel.exchangeDeclare({ exchange: settled, type: "fanout", durable: true }))
    })
  )

/** Whether every queue is there. */
const isWhole = (connection: Connection, { names }: Topology) =>
  exists(connection, async (channel) => {
    for (const queue of names.queues) await channel.queueDeclare({ queue, passive: true })
  })

const exchangeExists = (connection: Connection, exchange: string) =>
  exists(connection, (channel) => channel.exchangeDeclare({ exchange, passive: true }))

/** On a channel of its own, which the server closes if not. */
const exists = (connection: Connection, ask: (channel: Channel) => Promise<unknown>) =>
  Effect.scoped(
    Effect.flatMap(openChannel(connection), (channel) =>
      promise(() =>
        ask(channel).then(
          () => true,
          (error) => {
            if (codeOf(error) === "NOT_FOUND") return false
            throw error
          }
        )
      )
    )
  )

/** Its end is waited for, for a moment, unless it is known that the server does not answer. */
const openChannel = (connection: Connection, isSilent: () => boolean = () => false) =>
  Effect.acquireRelease(
    promise(async () => {
      const channel = await connection.acquire({ emitErrorsFromChannel: true })
      // Why a channel was closed reaches its users through what they await; an unheard event would end the process.
      channel.on("error", () => {})
      return channel
    }),
    (channel) =>
      Effect.suspend(() => {
        const closed = closing(() => channel.close())
        return isSilent() ? Effect.asVoid(Effect.forkDetach(closed)) : closed
      })
  )

/** Releases without waiting for a server that does not answer. */
const closing = (close: () => Promise<unknown>) => Effect.ignore(deadline(Limits.closeDeadline)(promise(close)))

const promise = <A>(evaluate: () => Promise<A>): Effect.Effect<A, Unavailable> =>
  Effect.tryPromise({ try: evaluate, catch: asUnavailable })

/** The connection to publish on, opened with the first use, and why the server takes nothing from it; null: it does. */
const makeOutgoing = Effect.fnUntraced(function* ({ options }: Rabbit) {
  const health = yield* Health
  const scope = yield* Effect.scope
  const runFork = Effect.runForkWith(yield* Effect.context())
  let connection: Connection | null = null
  let blocked: string | null = null
  const say = (reason: string | null) => {
    if (blocked === reason) return
    blocked = reason
    const detail = reason === null ? null : `RabbitMQ takes no messages: ${reason}`
    runFork(health.report("broker", detail === null ? "up" : "degraded", detail))
    if (detail !== null) runFork(Effect.logWarning(detail))
  }
  const open = Effect.gen(function* () {
    if (connection !== null) return connection
    const opened = yield* Scope.provide(openConnection(options), scope)
    opened.on("connection.blocked", (reason) => say(reason))
    opened.on("connection.unblocked", () => say(null))
    opened.on("connection", () => say(null))
    connection = opened
    return opened
  })
  return { open, blocked: () => blocked }
})

const makePublish = Effect.fnUntraced(function* (rabbit: Rabbit, refill: Refill | null) {
  const { topology } = rabbit
  const outgoing = yield* makeOutgoing(rabbit)
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
  const openConfirming = Effect.gen(function* () {
    const connection = yield* outgoing.open
    const acquired = yield* promise(() => connection.acquire({ emitErrorsFromChannel: true }))
    acquired.on("error", () => {})
    open = acquired
    const settled = yield* exchangeExists(connection, topology.settled)
    if (settled && (yield* isWhole(connection, topology))) yield* promise(() => topology.declare(acquired))
    else yield* declareAnew(connection, topology)
    yield* promise(() => acquired.confirmSelect())
    return acquired
  }).pipe(dropOnFailure)
  // Some confirmed and some not: the rest of this channel's promises are worth nothing.
  const sendAll = (confirming: Channel, envelopes: Array.NonEmptyReadonlyArray<Envelope>) =>
    rabbit.guard.call(
      promise(() => Promise.all(envelopes.map((envelope) => send(topology, confirming, envelope)))).pipe(dropOnFailure)
    )
  const fill = Effect.fnUntraced(function* (confirming: Channel) {
    if (!(yield* rabbit.guard.call(exchangeExists(yield* outgoing.open, topology.lost)))) return
    if (refill !== null) yield* refill((envelopes) => Effect.asVoid(sendAll(confirming, envelopes)))
    yield* rabbit.guard.call(promise(() => confirming.exchangeDelete({ exchange: topology.lost })))
  }, dropOnFailure)
  const ready = Effect.gen(function* () {
    const blocked = outgoing.blocked()
    if (blocked !== null) return yield* unavailable("refused", `RabbitMQ takes no messages: ${blocked}`)
    if (open?.active === true) return open
    const confirming = yield* rabbit.guard.call(openConfirming, { deadline: Limits.declareDeadline })
    yield* fill(confirming)
    return confirming
  })
  yield* keepWhole(
    Effect.gen(function* () {
      if (open === null || (yield* rabbit.guard.call(isWhole(yield* outgoing.open, topology)))) return
      yield* Effect.logWarning("queues are missing in RabbitMQ and are made again")
      yield* drop
      yield* ready
    }).pipe(Semaphore.withPermit(one))
  )
  return Effect.fn("Broker.publish")((envelopes: Array.NonEmptyReadonlyArray<Envelope>) =>
    ready.pipe(
      Effect.flatMap((confirming) => sendAll(confirming, envelopes)),
      Semaphore.withPermit(one),
      Effect.asVoid
    )
  )
})

/** While RabbitMQ is away there is nothing to say: the next to publish finds out the same. */
const keepWhole = (look: Effect.Effect<void, Unavailable>) =>
  Effect.ignore(look).pipe(
    Effect.delay(Limits.lookDelay),
    Effect.forever,
    Effect.tapDefect((cause) => Effect.logError("RabbitMQ's queues are no longer looked after", cause)),
    Effect.forkScoped
  )

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

interface Arriving<A> {
  readonly channel: Channel
  readonly arrived: Queue.Dequeue<A, Unavailable>
  readonly offer: (arrival: A) => void
  readonly fail: (error: Unavailable) => void
}

/** A channel to consume on and the queue that its messages come by; the queue fails when the channel is gone. */
const openConsumer = Effect.fnUntraced(function* <A>(rabbit: Rabbit, countMax: number) {
  let isSilent = false
  const channel = yield* openChannel(rabbit.connection, () => isSilent)
  const arrived = yield* Queue.bounded<A, Unavailable>(countMax)
  const fail = (error: Unavailable) => {
    Queue.failCauseUnsafe(arrived, Cause.fail(error))
  }
  channel.once("close", () => fail(unavailable("connection_lost", "the channel was closed")))
  channel.once("basic.cancel", () => fail(unavailable("connection_lost", "the server took the queue away")))
  const tellOfSilence = (why: Unavailable) => {
    isSilent = true
    fail(why)
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => rabbit.waiting.add(tellOfSilence)),
    () => Effect.sync(() => rabbit.waiting.delete(tellOfSilence))
  )
  const offer = (arrival: A) => {
    if (!Queue.offerUnsafe(arrived, arrival)) fail(unavailable("refused", "the server sends more than was asked for"))
  }
  return { channel, arrived, offer, fail } satisfies Arriving<A>
})

const consume = (
  rabbit: Rabbit,
  group: ConsumerGroup,
  handled: Handled | null
): Stream.Stream<Delivery, Unavailable> => {
  const queues = rabbit.topology.queues(group)
  const prefetchCount = Math.max(1, Math.floor(ConsumerLimits.prefetchEventsMax / queues.length))
  const open = Effect.gen(function* () {
    yield* rabbit.declared
    const arriving = yield* openConsumer<Delivery>(rabbit, ConsumerLimits.prefetchEventsMax)
    const { arrived, channel } = arriving
    yield* promise(() => channel.basicQos({ prefetchCount }))
    for (const [partition, queue] of queues.entries()) {
      yield* promise(() => channel.basicConsume({ queue }, (message) => deliver(arriving, partition, message, handled)))
    }
    if (handled !== null) yield* Effect.forkScoped(handled.keep)
    return Stream.fromQueue(arrived)
  })
  return guardedStream(rabbit, open)
}

const guardedStream = <A, R>(rabbit: Rabbit, open: Effect.Effect<Stream.Stream<A, Unavailable>, Unavailable, R>) =>
  Stream.unwrap(rabbit.guard.call(open, { deadline: Limits.declareDeadline }))

const deliver = (
  { channel, fail, offer }: Arriving<Delivery>,
  partition: number,
  message: AsyncMessage,
  handled: Handled | null
): void => {
  const read = readMessage(message)
  // Written by a newer release: this version may neither skip nor park what it cannot read, so the group stands still, visibly.
  if (Result.isFailure(read)) {
    fail(read.failure)
    return
  }
  const envelope = read.success
  const { deliveryTag, redelivered } = message
  handled?.delivered(partition, envelope.position)
  offer({
    envelope,
    redelivered,
    partition,
    ack: attemptNow(() => {
      channel.basicAck({ deliveryTag })
      handled?.acknowledged(partition, envelope.position)
    }),
    requeue: attemptNow(() => channel.basicNack({ deliveryTag, requeue: true }))
  })
}

const readMessage = (message: AsyncMessage): Result.Result<Envelope, Unavailable> =>
  Result.mapError(decodeEnvelope(Buffer.isBuffer(message.body) ? message.body.toString("utf8") : ""), (error) =>
    unavailable("refused", `event ${message.messageId ?? "without id"} cannot be read here: ${error.detail}`)
  )

/** Written to the socket without an answer: only a closed channel is noticed, and then the delivery comes back. */
const attemptNow = (write: () => void) => Effect.try({ try: write, catch: asUnavailable })

/** Where in the stream queue a position is. */
interface Place {
  readonly position: Position
  readonly offset: number
}

/** What this process knows of the stream queue, so that going on need not start at its first event. */
interface Known {
  /** The last one that was read. */
  seen: Place | null
  /** What comes after the last gap. Nothing before it leads anywhere. */
  begins: Place | null
}

const makeChanges = (rabbit: Rabbit) => {
  const known: Known = { seen: null, begins: null }
  return (after: Option.Option<Position>): Stream.Stream<Envelope, Unavailable> =>
    guardedStream(
      rabbit,
      Effect.gen(function* () {
        yield* rabbit.declared
        const arriving = yield* openConsumer<AsyncMessage>(rabbit, Limits.changesPrefetchMax + Limits.changesChunkMax)
        const { arrived, channel, offer } = arriving
        yield* promise(() => channel.basicQos({ prefetchCount: Limits.changesPrefetchMax }))
        const start = startOf(known, after)
        const from = { "x-stream-offset": start?.offset ?? "first" }
        yield* promise(() => channel.basicConsume({ queue: rabbit.topology.changes, arguments: from }, offer))
        const next = makeGapless(after, known)
        const take = Effect.tap(Queue.takeAll(arrived), (messages) => acknowledgeAll(channel, messages))
        let first = start
        const read = Effect.suspend(() => {
          const place = first
          first = null
          return place === null ? take : takeAt(take, place, known)
        })
        return Stream.flattenIterable(
          Stream.fromEffectRepeat(Effect.flatMap(read, (messages) => Effect.fromResult(next(messages))))
        )
      })
    )
}

const startOf = ({ begins, seen }: Known, after: Option.Option<Position>): Place | null =>
  seen !== null && Option.isSome(after) && seen.position <= after.value ? seen : begins

type Messages = Array.NonEmptyReadonlyArray<AsyncMessage>

/** What is at a place that is known must come at once and be what it was: another stream queue may stand there now, and be shorter. */
const takeAt = (take: Effect.Effect<Messages, Unavailable>, place: Place, known: Known) =>
  take.pipe(
    deadline(Limits.callDeadline),
    Effect.filterOrFail(
      ([message]) => {
        const offset = offsetOf(message)
        if (offset === null || offset < place.offset) return false
        return offset > place.offset || Result.getOrNull(readMessage(message))?.position === place.position
      },
      () => unavailable("refused", "the change feed is not the one that was read before")
    ),
    Effect.catchTag("TimeoutError", () =>
      Effect.fail(unavailable("refused", `the change feed no longer has position ${place.position}`))
    ),
    Effect.tapError(() =>
      Effect.sync(() => {
        known.seen = null
        known.begins = null
      })
    )
  )

const offsetOf = (message: AsyncMessage): number | null => {
  const offset = message.headers?.["x-stream-offset"]
  return typeof offset === "number" ? offset : null
}

const acknowledgeAll = (channel: Channel, messages: Messages) =>
  attemptNow(() => {
    const last = messages[messages.length - 1]
    if (last !== undefined) channel.basicAck({ deliveryTag: last.deliveryTag, multiple: true })
  })

/** Leaves out what came before and fails at a gap; whoever then asks for the whole window gets what lies behind it. */
const makeGapless = (after: Option.Option<Position>, known: Known) => {
  let last = Option.getOrNull(after)
  return (messages: Messages): Result.Result<ReadonlyArray<Envelope>, Unavailable> => {
    const fresh: globalThis.Array<Envelope> = []
    for (const message of messages) {
      const read = readMessage(message)
      if (Result.isFailure(read)) return Result.fail(read.failure)
      const { position } = read.success
      const offset = offsetOf(message)
      const place = offset === null ? null : { position, offset }
      if (last !== null && position <= last) continue
      if (last !== null && position > last + 1) {
        known.seen = null
        known.begins = place
        return Result.fail(unavailable("refused", `the change feed goes on at ${position}, not after ${last}`))
      }
      last = position
      fresh.push(read.success)
      if (place !== null) known.seen = place
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
