// The broker adapter's service on the simulated RabbitMQ.
import { atPresent, type Broker, type Change, type ConsumerGroup, type Delivery } from "@holdfast/broker/Broker"
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Position } from "@holdfast/contracts/Ids"
import { Broker as Limits } from "@holdfast/resilience/Limits"
import { Unavailable, type UnavailableReason } from "@holdfast/resilience/Unavailable"
import { Cause, Effect, Option, Queue, type Scope, Stream } from "effect"
import type { Channel, Item, RabbitModel, Reader } from "./RabbitModel.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import { type Guarded, guarded, type SimulatedServer } from "./SimulatedServer.ts"

const unavailable = (reason: UnavailableReason, detail: string) =>
  new Unavailable({ dependency: "broker", reason, detail, retryAfterMs: 200 })

export const simulatedBroker = (process: SimulatedProcess, server: SimulatedServer, model: RabbitModel) =>
  Effect.map(
    guarded(process, server, {
      dependency: "broker",
      deadline: Limits.callDeadline,
      concurrencyMax: Limits.callsUnderWayMax,
      acquireDeadline: Limits.acquireDeadline
    }),
    (broker): Broker["Service"] => ({
      publish: (envelopes) => broker.run(publish(process, server, model, envelopes)),
      consume: (group) => Stream.unwrap(consume(process, server, model, broker, group)),
      changes: (after) => Stream.unwrap(changes(process, server, model, broker, after))
    })
  )

/** The connection may break after some of a batch. */
const publish = (
  process: SimulatedProcess,
  server: SimulatedServer,
  model: RabbitModel,
  envelopes: ReadonlyArray<Envelope>
) =>
  server.callLong<void>(process, (done) => {
    const { seed } = process.world
    const isCut = seed.chance(server.faults.lostAnswer)
    model.publish(isCut ? envelopes.slice(0, seed.below(envelopes.length + 1)) : envelopes)
    if (!isCut) return done()
    process.world.coverage.hit("broker batch torn")
    server.troubled(process, "torn")
  })

/** Ends with the scope, with the server, and with the process, each of which the others hear of a moment later. */
const connected = (
  process: SimulatedProcess,
  server: SimulatedServer,
  atServer: () => void,
  atClient: () => void,
  toServer: (arrive: () => void) => void
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => {
        const broken = () => {
          atServer()
          process.after(server.latencyMs(), atClient)
        }
        const gone = () => toServer(atServer)
        server.onLost.add(broken)
        process.onEnd.add(gone)
        return { broken, gone }
      }),
      ({ broken, gone }) =>
        Effect.sync(() => {
          server.onLost.delete(broken)
          process.onEnd.delete(gone)
          gone()
        })
    )
  )

/** What a connection carries to the server arrives in the order in which it was sent. */
const inOrder = (server: SimulatedServer) => {
  let lastAtMs = 0
  return (arrive: () => void): void => {
    const { nowMs } = server.world
    lastAtMs = Math.max(lastAtMs, nowMs + server.latencyMs())
    server.world.after(lastAtMs - nowMs, arrive)
  }
}

const consume = Effect.fnUntraced(function* (
  process: SimulatedProcess,
  server: SimulatedServer,
  model: RabbitModel,
  broker: Guarded,
  group: ConsumerGroup
) {
  const arrived = yield* Queue.unbounded<Delivery, Unavailable>()
  const toServer = inOrder(server)
  const channel: Channel = {
    process,
    isOpen: true,
    deliver: (item, partition) =>
      Queue.offerUnsafe(arrived, deliveryOf({ toServer, model, group, channel, partition, item }))
  }
  yield* connected(
    process,
    server,
    () => model.close(group, channel),
    () => Queue.failCauseUnsafe(arrived, Cause.fail(unavailable("connection_lost", "the channel was closed"))),
    toServer
  )
  yield* broker.call(() => {
    if (channel.isOpen) model.open(group, channel)
  })
  return Stream.fromQueue(arrived)
})

interface Delivering {
  readonly toServer: (arrive: () => void) => void
  readonly model: RabbitModel
  readonly group: ConsumerGroup
  readonly channel: Channel
  readonly partition: number
  readonly item: Item
}

/** Acknowledgements are written to a socket: nobody answers them. */
const deliveryOf = ({ channel, group, item, model, partition, toServer }: Delivering): Delivery => ({
  envelope: item.envelope,
  partition,
  ack: Effect.suspend(() => {
    if (!channel.isOpen) return Effect.fail(unavailable("connection_lost", "the channel was closed"))
    return Effect.sync(() => toServer(() => model.acknowledge(group, channel, partition, item.order)))
  })
})

const changes = Effect.fnUntraced(function* (
  process: SimulatedProcess,
  server: SimulatedServer,
  model: RabbitModel,
  broker: Guarded,
  after: Option.Option<Position>
) {
  const arrived = yield* Queue.unbounded<Change, Unavailable>()
  let last = Option.getOrNull(after)
  const take = (changes: ReadonlyArray<Change>) => {
    for (const envelope of changes) {
      if (envelope === atPresent) {
        Queue.offerUnsafe(arrived, atPresent)
        continue
      }
      if (last !== null && envelope.position <= last) continue
      if (last !== null && envelope.position > last + 1) {
        process.world.coverage.hit("change feed refused at a gap")
        const gap = unavailable("refused", `it goes on at ${envelope.position}, not after ${last}`)
        return void Queue.failCauseUnsafe(arrived, Cause.fail(gap))
      }
      last = envelope.position
      Queue.offerUnsafe(arrived, envelope)
    }
  }
  const reader: Reader = { process, take, next: 0, isAhead: true, lastAtMs: 0 }
  let isOpen = true
  yield* connected(
    process,
    server,
    () => {
      isOpen = false
      model.readers.delete(reader)
    },
    () => Queue.failCauseUnsafe(arrived, Cause.fail(unavailable("connection_lost", "the channel was closed"))),
    inOrder(server)
  )
  yield* broker.call(() => {
    if (isOpen) model.read(reader)
  })
  return Stream.fromQueue(arrived)
})
