// One connection to RabbitMQ that heals by itself, its guard, and the desk's exchanges and queues declared on it, once per connection: a
// server that lost its data, or another one, comes with a new connection.
import { type Guard, makeGuard } from "@holdfast/resilience/Guard"
import { Broker as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Duration, Effect, Redacted, Semaphore } from "effect"
import { type Channel, Connection } from "rabbitmq-client"
import { closing, codeOf, describe, promise, toFailure } from "./RabbitMqFailure.ts"
import { makeReadMessage, type ReadMessage } from "./RabbitMqRead.ts"
import { makeTopology, type Topology } from "./Topology.ts"

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
  /** `Broker.changesWindowEventsMax` unless told. */
  readonly changesWindowEventsMax?: number
}

export interface Rabbit {
  readonly options: RabbitMqOptions
  readonly connection: Connection
  readonly guard: Guard
  readonly topology: Topology
  /** Everything is declared, once per connection. */
  readonly declared: Effect.Effect<void, Unavailable>
  readonly read: ReadMessage
  /** Who waits for deliveries. A server that hangs says nothing, and so would they until the heartbeat fails: they are told sooner. */
  readonly waiting: Set<(why: Unavailable) => void>
}

export const connect = Effect.fnUntraced(function* (options: RabbitMqOptions) {
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
  return { options, connection, guard, topology, declared, waiting, read: makeReadMessage() } satisfies Rabbit
})

const tellAll = (waiting: Rabbit["waiting"], why: Unavailable) => {
  for (const tell of waiting) tell(why)
}

export const openConnection = Effect.fnUntraced(function* (options: RabbitMqOptions) {
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

export const connectionOptions = (options: RabbitMqOptions) => {
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
export const declareAnew = (connection: Connection, { declare, lost, settled }: Topology) =>
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
export const isWhole = (connection: Connection, { names }: Topology) =>
  exists(connection, async (channel) => {
    for (const queue of names.queues) await channel.queueDeclare({ queue, passive: true })
  })

export const exchangeExists = (connection: Connection, exchange: string) =>
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
export const openChannel = (connection: Connection, isSilent: () => boolean = () => false) =>
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
