// What stands in RabbitMQ, declared by whoever comes first and the same for all. One topic exchange takes every event; each group has
// a consistent-hash exchange on the stream id behind it, so that all events of a stream go through one of its quorum queues, each
// with a single active consumer: order per stream, streams in parallel. The change feed is a stream queue that readers replay.
import { Broker as Limits } from "@holdfast/resilience/Limits"
import { ByteSize, Duration } from "effect"
import type { Channel } from "rabbitmq-client"
import { ConsumerGroup } from "./Broker.ts"

/** The header that a message's queue is chosen by. */
export const streamHeader = "holdfast-stream"

export interface Topology {
  readonly events: string
  readonly changes: string
  readonly queues: (group: ConsumerGroup) => ReadonlyArray<string>
  /** An exchange that nothing goes through: that it is there says that all queues have had the time to reach the server's disk. */
  readonly settled: string
  readonly declare: (channel: Channel) => Promise<void>
}

/** The prefix keeps several desks on one server apart. */
export const makeTopology = (prefix: string): Topology => {
  const events = `${prefix}.events`
  const changes = `${prefix}.changes`
  const partitions = Array.from({ length: Limits.partitions }, (_, index) => index)
  const queues = (group: ConsumerGroup) => partitions.map((partition) => `${prefix}.${group}.${partition}`)
  return {
    events,
    changes,
    queues,
    // A release with more queues lets them settle too.
    settled: `${prefix}.settled.${ConsumerGroup.literals.length * Limits.partitions}`,
    declare: async (channel) => {
      await channel.exchangeDeclare({ exchange: events, type: "topic", durable: true })
      for (const group of ConsumerGroup.literals) {
        await declareGroup(channel, events, `${prefix}.${group}`, queues(group))
      }
      await declareChanges(channel, events, changes)
    }
  }
}

const declareGroup = async (channel: Channel, events: string, exchange: string, queues: ReadonlyArray<string>) => {
  await channel.exchangeDeclare({
    exchange,
    type: "x-consistent-hash",
    durable: true,
    arguments: { "hash-header": streamHeader }
  })
  for (const queue of queues) {
    await channel.queueDeclare({ queue, durable: true, arguments: quorum })
    // Here the routing key is the queue's weight: all the same.
    await channel.queueBind({ exchange, queue, routingKey: "1" })
  }
  // Last, so that no event reaches the group before all of its queues share the streams.
  await channel.exchangeBind({ source: events, destination: exchange, routingKey: "#" })
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
