// The port to the message broker. What its users may rely on is written at each method; every layer is held to it by one contract
// suite. Two layers: RabbitMQ, and the event log in PostgreSQL read by cursor (the embedded default).
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Position } from "@holdfast/contracts/Ids"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { type Array, Context, Data, type Effect, type Option, Schema, type Stream } from "effect"

/** Who consumes: each group sees every event once, whatever the number of processes that share the work. */
export const ConsumerGroup = Schema.Literals(["views", "cache", "automation", "analytics", "webhooks", "files"])
export type ConsumerGroup = typeof ConsumerGroup.Type

/** One event handed to one consumer, who owes it an `ack`; without one it comes again when its stream of deliveries has ended. */
export interface Delivery {
  readonly envelope: Envelope
  /** The share of the group's work that this came by. Who holds a share holds it until its stream of deliveries ends. */
  readonly partition: number
  readonly ack: Effect.Effect<void, Unavailable>
}

/** The change feed goes on with the events of another event log: the database was replaced or restored, and positions begin anew. */
export class AnotherLog extends Data.TaggedError("AnotherLog")<{ readonly message: string }> {}

/** Stands once in each reading of the change feed: everything that was there when the reading began has been handed out before it. */
export const atPresent = "at present"
export type Change = Envelope | typeof atPresent

export class Broker extends Context.Service<
  Broker,
  {
    /** Succeeds only once the broker has confirmed every one, in the given order. Publishing one again is harmless: readers deduplicate. */
    publish(envelopes: Array.NonEmptyReadonlyArray<Envelope>): Effect.Effect<void, Unavailable>
    /** At least once; the events of one stream in version order the first time that each comes, to one consumer of the group at a time. Unacknowledged ones come back. Bounded by `Consumer.prefetchEventsMax`. */
    consume(group: ConsumerGroup): Stream.Stream<Delivery, Unavailable>
    /** Every event after `after` (none: the window, `changesWindowEventsMax` of the newest), `atPresent`, then live; each once, positions ascending without a gap. Fails when the broker is lost or no longer holds what comes next; read again from the last position. After `AnotherLog`, what was read before is to be forgotten, and the whole window is the new log's. */
    changes(after: Option.Option<Position>): Stream.Stream<Change, Unavailable | AnotherLog>
  }
>()("@holdfast/broker/Broker") {}
