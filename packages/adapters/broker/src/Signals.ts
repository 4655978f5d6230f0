// The port for what passes between gateways and is not worth keeping: who is on a ticket, who writes. Lossy by contract: a signal may be lost,
// and comes at most once, in no promised order. What must not be lost is an event. Two layers: RabbitMQ, and PostgreSQL's NOTIFY (the
// embedded default); one contract suite runs on both.
import { Context, type Effect, type Stream } from "effect"

export class Signals extends Context.Service<
  Signals,
  {
    /** Returns at once and never fails. Dropped when the broker is away or slow, or the text is longer than `Presence.signalBytesMax`. */
    publish(signal: string): Effect.Effect<void>
    /** What is published anywhere from when this runs, by this process too. Never ends and never fails: it heals by itself, and misses what was published meanwhile. The oldest are dropped for a slow reader. */
    readonly received: Stream.Stream<string>
  }
>()("@holdfast/broker/Signals") {}
