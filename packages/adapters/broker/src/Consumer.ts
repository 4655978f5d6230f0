// A consumer of events: order per stream, streams in parallel, a deadline per event, retries with jittered backoff, then parking of
// the event together with the later ones of its stream, so that a poison event stops its own ticket's line and no other.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import type { Effect } from "effect"
import { Schema } from "effect"
import type { ConsumerGroup } from "./Broker.ts"

/** The event itself cannot be handled, now or later: it is parked at once. */
export class Poison extends Schema.TaggedError<Poison>()("Poison", { detail: Schema.String }) {}

export interface Consumer<R = never> {
  readonly group: ConsumerGroup
  /**
   * Must be idempotent: an event may be handed over again after a crash. `Unavailable` is retried for as long as it lasts (the
   * event is innocent); `Poison` parks at once; a defect or timeout is retried, then parked.
   */
  readonly handle: (envelope: Envelope) => Effect.Effect<void, Unavailable | Poison, R>
}
