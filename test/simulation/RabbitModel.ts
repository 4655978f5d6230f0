// RabbitMQ as a model in memory: per consumer group some queues with one active consumer each, and one stream for the gateways. What is
// confirmed outlives everything. Deliveries of one queue keep their order and those of different queues overtake each other; what was not
// acknowledged when its channel ends goes back to its place.
import { atPresent, type Change, type ConsumerGroup, ConsumerGroup as Groups } from "@holdfast/broker/Broker"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Consumer as Limits } from "@holdfast/resilience/Limits"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import type { SimulatedServer } from "./SimulatedServer.ts"

/** Few, so that streams share one. */
const partitionsCount = 2

export interface Channel {
  readonly process: SimulatedProcess
  readonly deliver: (item: Item, partition: number) => void
  isOpen: boolean
}

export interface Item {
  readonly envelope: Envelope
  readonly order: number
}

interface Partition {
  readonly index: number
  ready: Array<Item>
  readonly unacknowledged: Map<number, Item>
  readonly channels: Array<Channel>
  /** Deliveries on their way keep their order. */
  lastAtMs: number
}

export interface Reader {
  readonly process: SimulatedProcess
  readonly take: (changes: ReadonlyArray<Change>) => void
  next: number
  /** Has not been given everything that was there when it began. */
  isAhead: boolean
  lastAtMs: number
}

export class RabbitModel {
  readonly #groups = new Map<ConsumerGroup, ReadonlyArray<Partition>>()
  readonly #server: SimulatedServer
  readonly #streamMax: number
  readonly #published: (envelope: Envelope) => void
  readonly readers = new Set<Reader>()
  readonly stream: Array<Envelope> = []
  /** Of the stream, no longer held. */
  #forgotten = 0
  #order = 0

  constructor(server: SimulatedServer, streamMax: number, published: (envelope: Envelope) => void) {
    this.#server = server
    this.#streamMax = streamMax
    this.#published = published
    for (const group of Groups.literals)
      this.#groups.set(group, Array.from({ length: partitionsCount }, emptyPartition))
  }

  publish(envelopes: ReadonlyArray<Envelope>): void {
    for (const envelope of envelopes) {
      this.#published(envelope)
      this.stream.push(envelope)
      if (this.stream.length - this.#forgotten > this.#streamMax) this.#forgotten++
      for (const partitions of this.#groups.values()) {
        const partition = partitions[partitionOf(envelope.streamId)]
        partition?.ready.push({ envelope, order: ++this.#order })
      }
    }
    this.pumpAll()
  }

  /** Whatever may be sent, is. */
  pumpAll(): void {
    for (const partitions of this.#groups.values()) for (const partition of partitions) this.#pump(partition)
    for (const reader of this.readers) this.#feed(reader)
  }

  open(group: ConsumerGroup, channel: Channel): void {
    for (const partition of this.#groups.get(group) ?? []) {
      partition.channels.push(channel)
      this.#pump(partition)
    }
  }

  close(group: ConsumerGroup, channel: Channel): void {
    channel.isOpen = false
    for (const partition of this.#groups.get(group) ?? []) {
      const wasActive = partition.channels[0] === channel
      const index = partition.channels.indexOf(channel)
      if (index >= 0) partition.channels.splice(index, 1)
      if (!wasActive) continue
      this.#giveBack(partition, [...partition.unacknowledged.values()])
      this.#pump(partition)
    }
  }

  acknowledge(group: ConsumerGroup, channel: Channel, index: number, order: number): void {
    const partition = this.#groups.get(group)?.[index]
    if (!channel.isOpen || partition === undefined) return
    partition.unacknowledged.delete(order)
    this.#pump(partition)
  }

  /** What the group has not acknowledged. */
  backlog(group: ConsumerGroup): number {
    return (this.#groups.get(group) ?? []).reduce(
      (sum, { ready, unacknowledged }) => sum + ready.length + unacknowledged.size,
      0
    )
  }

  read(reader: Reader): void {
    reader.next = this.#forgotten
    reader.isAhead = true
    this.readers.add(reader)
    this.#feed(reader)
  }

  #giveBack(partition: Partition, items: ReadonlyArray<Item>): void {
    for (const item of items) {
      partition.unacknowledged.delete(item.order)
      this.#server.world.coverage.hit("redelivered")
    }
    partition.ready = [...items, ...partition.ready].sort((a, b) => a.order - b.order)
  }

  #pump(partition: Partition): void {
    const channel = partition.channels[0]
    if (channel === undefined || this.#server.mode !== "up") return
    const room = Math.floor(Limits.prefetchEventsMax / partitionsCount) - partition.unacknowledged.size
    for (const item of partition.ready.splice(0, Math.max(0, room))) {
      partition.unacknowledged.set(item.order, item)
      const { world } = this.#server
      partition.lastAtMs = Math.max(partition.lastAtMs, world.nowMs + this.#server.latencyMs())
      channel.process.after(partition.lastAtMs - world.nowMs, () => {
        if (channel.isOpen) channel.deliver(item, partition.index)
      })
    }
  }

  #feed(reader: Reader): void {
    if (this.#server.mode !== "up" || (reader.next >= this.stream.length && !reader.isAhead)) return
    const held = this.stream.slice(Math.max(reader.next, this.#forgotten))
    const batch: ReadonlyArray<Change> = reader.isAhead ? [...held, atPresent] : held
    reader.next = this.stream.length
    reader.isAhead = false
    const { world } = this.#server
    reader.lastAtMs = Math.max(reader.lastAtMs, world.nowMs + this.#server.latencyMs())
    reader.process.after(reader.lastAtMs - world.nowMs, () => {
      if (this.readers.has(reader)) reader.take(batch)
    })
  }
}

const emptyPartition = (_: unknown, index: number): Partition => ({
  index,
  ready: [],
  unacknowledged: new Map(),
  channels: [],
  lastAtMs: 0
})

const partitionOf = (streamId: string): number => streamId.charCodeAt(0) % partitionsCount
