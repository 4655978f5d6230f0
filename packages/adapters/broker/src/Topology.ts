// What stands in RabbitMQ, declared by whoever comes first and the same for all. One topic exchange takes every event; each group has a
// quorum queue per partition, bound to the partition that ends the routing key, each with a single active consumer: order per
// stream, streams in parallel. The change feed is a stream queue that readers replay.
//
// The publisher says which partition a stream belongs to, so that no restart of the server can change it (decision 0003).
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { StreamId } from "@holdfast/contracts/Ids"
import { Broker as Limits } from "@holdfast/resilience/Limits"
import { ByteSize, Duration } from "effect"
import type { Channel } from "rabbitmq-client"
import { ConsumerGroup } from "./Broker.ts"

/** Never changes while events of the stream are under way. The last digits of a UUID are its random or hashed ones. */
export const partitionOf = (streamId: StreamId): number => Number.parseInt(streamId.slice(-8), 16) % Limits.partitions

/** `<stream>.<event>.<partition>`: others may bind what they like to, such as `ticket.TicketOpened.*`. */
export const routingKeyOf = ({ event, streamId, streamType }: Envelope): string =>
  `${streamType}.${event._tag}.${partitionOf(streamId)}`

export interface Topology {
  readonly events: string
  readonly changes: string
  readonly queues: (group: ConsumerGroup) => ReadonlyArray<string>
  /** An exchange that nothing goes through: that it is there says that all queues have had the time to reach the server's disk. */
  readonly settled: string
  /** Another such: queues began empty, and what they should hold was not published again yet. */
  readonly lost: string
  /** Everything that `declare` and settling leave on the server. */
  readonly names: { readonly queues: ReadonlyArray<string>; readonly exchanges: ReadonlyArray<string> }
  readonly declare: (channel: Channel) => Promise<void>
}

/** The prefix keeps several desks on one server apart. */
export const makeTopology = (prefix: string): Topology => {
  const events = `${prefix}.events`
  const changes = `${prefix}.changes`
  const partitions = Array.from({ length: Limits.partitions }, (_, index) => index)
  const queues = (group: ConsumerGroup) => partitions.map((partition) => `${prefix}.${group}.${partition}`)
  const groupQueues = ConsumerGroup.literals.flatMap(queues)
  // A release with more queues lets them settle too.
  const settled = `${prefix}.settled.${groupQueues.length}`
  const lost = `${prefix}.lost`
  return {
    events,
    changes,
    queues,
    settled,
    lost,
    names: { queues: [...groupQueues, changes], exchanges: [events, settled, lost] },
    declare: async (channel) => {
      await channel.exchangeDeclare({ exchange: events, type: "topic", durable: true })
      for (const group of ConsumerGroup.literals) {
        await declareGroup(channel, events, queues(group))
      }
      await declareChanges(channel, events, changes)
    }
  }
}

const declareGroup = async (channel: Channel, events: string, queues: ReadonlyArray<string>) => {
  for (const [partition, queue] of queues.entries()) {
    await channel.queueDeclare({ queue, durable: true, arguments: quorum })
    await channel.queueBind({ exchange: events, queue, routingKey: `*.*.${partition}` })
  }
}

const quorum = {
  "x-queue-type": "quorum" as const,
  "x-single-active-consumer": true,
  "x-delivery-limit": Limits.deliveriesMax
}

const declareChanges = async (channel: Channel, events: string, queue: string) => {
  await channel.queueDeclare({
    queue,
    durable: true,
    arguments: {
      "x-queue-type": "stream",
      "x-max-age": `${Duration.toSeconds(Limits.changesAgeMax)}s`,
      "x-max-length-bytes": ByteSize.toNumberUnsafe(Limits.changesBytesMax),
      "x-stream-max-segment-size-bytes": ByteSize.toNumberUnsafe(Limits.changesSegmentBytes)
    }
  })
  await channel.queueBind({ exchange: events, queue, routingKey: "#" })
}
