// Publishing to RabbitMQ, confirmed, on a connection of its own, because a server that runs out of memory or disk stops reading from whoever
// publishes: the acknowledgements that would relieve it must still get through. A failed batch gives up its channel, queues that are
// missing are made again, and what they had held is filled from the log before anything new.
import { encodeEnvelope, mediaType } from "@holdfast/contracts/CloudEvent"
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { LogId } from "@holdfast/database/EventLog"
import { Health } from "@holdfast/resilience/Health"
import { Broker as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { type Array, Effect, Exit, Scope, Semaphore } from "effect"
import type { Channel, Connection } from "rabbitmq-client"
import { identityOf, type OnLog } from "./OnLog.ts"
import { declareAnew, exchangeExists, isWhole, openConnection, type Rabbit } from "./RabbitMqConnection.ts"
import { closing, promise, unavailable } from "./RabbitMqFailure.ts"
import { routingKeyOf, type Topology } from "./Topology.ts"

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

interface Outgoing {
  readonly channel: Channel
  /** Whose events go out by it. */
  readonly log: LogId | undefined
}

export const makePublish = Effect.fnUntraced(function* (rabbit: Rabbit, onLog: OnLog | null) {
  const { topology } = rabbit
  const outgoing = yield* makeOutgoing(rabbit)
  const one = yield* Semaphore.make(1)
  let open: Outgoing | null = null
  const drop = Effect.suspend(() => {
    const dropped = open
    open = null
    return dropped === null ? Effect.void : Effect.forkDetach(closing(() => dropped.channel.close()))
  })
  yield* Effect.addFinalizer(() => drop)
  const dropOnFailure = <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.onExit(self, (exit) => (Exit.isFailure(exit) ? drop : Effect.void))
  // Declaring comes after the channel is there, on the same connection: a server that has just started may be up before its queues
  // are, and only an answered declaration says that they are there to take what is published.
  const openConfirming = Effect.fnUntraced(function* (log: LogId | undefined) {
    const connection = yield* outgoing.open
    const channel = yield* promise(() => connection.acquire({ emitErrorsFromChannel: true }))
    channel.on("error", () => {})
    const acquired: Outgoing = { channel, log }
    open = acquired
    const settled = yield* exchangeExists(connection, topology.settled)
    if (settled && (yield* isWhole(connection, topology))) yield* promise(() => topology.declare(channel))
    else yield* declareAnew(connection, topology)
    yield* promise(() => channel.confirmSelect())
    return acquired
  }, dropOnFailure)
  // Some confirmed and some not: the rest of this channel's promises are worth nothing.
  const sendAll = (confirming: Outgoing, envelopes: Array.NonEmptyReadonlyArray<Envelope>) =>
    rabbit.guard.call(
      promise(() => Promise.all(envelopes.map((envelope) => send(topology, confirming, envelope)))).pipe(dropOnFailure)
    )
  const fill = Effect.fnUntraced(function* (confirming: Outgoing) {
    if (!(yield* rabbit.guard.call(exchangeExists(yield* outgoing.open, topology.lost)))) return
    if (onLog !== null) yield* onLog.refill((envelopes) => Effect.asVoid(sendAll(confirming, envelopes)))
    yield* rabbit.guard.call(promise(() => confirming.channel.exchangeDelete({ exchange: topology.lost })))
  }, dropOnFailure)
  const ready = Effect.gen(function* () {
    const blocked = outgoing.blocked()
    if (blocked !== null) return yield* unavailable("refused", `RabbitMQ takes no messages: ${blocked}`)
    if (open?.channel.active === true) return open
    const confirming = yield* rabbit.guard.call(openConfirming(yield* identityOf(onLog)), {
      deadline: Limits.declareDeadline
    })
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

const send = (topology: Topology, { channel, log }: Outgoing, envelope: Envelope) =>
  channel.basicPublish(
    {
      exchange: topology.events,
      routingKey: routingKeyOf(envelope),
      durable: true,
      contentType: mediaType,
      messageId: envelope.eventId,
      ...(log === undefined ? {} : { appId: log })
    },
    Buffer.from(encodeEnvelope(envelope))
  )
