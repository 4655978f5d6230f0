// Deliveries from RabbitMQ. The driver's own consumers, which retry in silence, are not used: each stream of deliveries has a channel of its
// own and fails, typed, as soon as that channel is gone or the server says nothing. So nobody waits on something that is dead, and
// what was unacknowledged comes back.
import type { LogId } from "@holdfast/database/EventLog"
import { Consumer as ConsumerLimits, Broker as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Cause, Effect, Queue, Result, Stream } from "effect"
import type { AsyncMessage, Channel } from "rabbitmq-client"
import type { ConsumerGroup, Delivery } from "./Broker.ts"
import type { Handled } from "./Handled.ts"
import { identityOf, type OnLog } from "./OnLog.ts"
import { type Acks, makeAcks } from "./RabbitMqAcks.ts"
import { openChannel, type Rabbit } from "./RabbitMqConnection.ts"
import { asUnavailable, promise, unavailable } from "./RabbitMqFailure.ts"
import type { ReadMessage } from "./RabbitMqRead.ts"

interface Arriving<A> {
  readonly channel: Channel
  readonly arrived: Queue.Dequeue<A, Unavailable>
  readonly offer: (arrival: A) => void
  readonly fail: (error: Unavailable) => void
}

/** A channel to consume on and the queue that its messages come by; the queue fails when the channel is gone. */
export const openConsumer = Effect.fnUntraced(function* <A>(rabbit: Rabbit, countMax: number) {
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

export const consume = (
  rabbit: Rabbit,
  group: ConsumerGroup,
  onLog: OnLog | null
): Stream.Stream<Delivery, Unavailable> => {
  const queues = rabbit.topology.queues(group)
  const prefetchCount = Math.max(1, Math.floor(ConsumerLimits.prefetchEventsMax / queues.length))
  const handled = onLog?.handled(group) ?? null
  const open = Effect.fnUntraced(function* (log: LogId | undefined) {
    yield* rabbit.declared
    const isForeign = foreignTo(log)
    const arriving = yield* openConsumer<Delivery>(rabbit, ConsumerLimits.prefetchEventsMax)
    const { arrived, channel, fail } = arriving
    const acks = yield* makeAcks(channel, (error) => fail(asUnavailable(error)))
    const reading: Reading = { ...arriving, acks, handled, read: rabbit.read }
    yield* promise(() => channel.basicQos({ prefetchCount }))
    for (const [partition, queue] of queues.entries()) {
      yield* promise(() =>
        channel.basicConsume({ queue }, (message) =>
          isForeign(message) ? passOver(acks, message) : deliver(reading, partition, message)
        )
      )
    }
    if (handled !== null) yield* Effect.forkScoped(handled.keep)
    return Stream.fromQueue(arrived)
  })
  return Stream.unwrap(Effect.map(identityOf(onLog), (log) => guardedStream(rabbit, open(log))))
}

export const guardedStream = <A, E, R>(rabbit: Rabbit, open: Effect.Effect<Stream.Stream<A, E>, Unavailable, R>) =>
  Stream.unwrap(rabbit.guard.call(open, { deadline: Limits.declareDeadline }))

/** Of another event log than this: its positions and versions mean other events. Nothing that was published before logs had names is. */
const foreignTo =
  (log: LogId | undefined) =>
  ({ appId }: AsyncMessage): boolean =>
    log !== undefined && appId !== undefined && appId !== log

const passOver = (acks: Acks, { deliveryTag }: AsyncMessage): void => {
  acks.delivered(deliveryTag)
  acks.acknowledge(deliveryTag)
}

interface Reading extends Arriving<Delivery> {
  readonly acks: Acks
  readonly handled: Handled | null
  readonly read: ReadMessage
}

const deliver = (reading: Reading, partition: number, message: AsyncMessage): void => {
  const { acks, fail, handled, offer } = reading
  const event = reading.read(message)
  // Written by a newer release: this version may neither skip nor park what it cannot read, so the group stands still, visibly.
  if (Result.isFailure(event)) {
    fail(event.failure)
    return
  }
  const envelope = event.success
  const { deliveryTag } = message
  acks.delivered(deliveryTag)
  handled?.delivered(partition, envelope.position)
  offer({
    envelope,
    partition,
    ack: Effect.sync(() => {
      acks.acknowledge(deliveryTag)
      handled?.acknowledged(partition, envelope.position)
    })
  })
}
