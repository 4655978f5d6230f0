// A broker in memory for tests: a log that tests append to, and the power to lose it, to hold it away, to forget its
// beginning and to put another log in its place.
import { AnotherLog, atPresent, Broker, type Change } from "@holdfast/broker/Broker"
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Position } from "@holdfast/contracts/Ids"
import { Unavailable, type UnavailableReason } from "@holdfast/resilience/Unavailable"
import { Cause, Effect, Layer, Option, Queue, Stream } from "effect"

const unavailable = (reason: UnavailableReason) =>
  new Unavailable({ dependency: "broker", reason, retryAfterMs: 1, detail: "the test says so" })

export class BrokerDouble {
  readonly log: Array<Envelope> = []
  readonly #readers = new Set<Queue.Queue<Change, Unavailable | AnotherLog>>()
  /** Events before this position are no longer held. */
  retainedFrom = 1
  isAway = false
  /** Readers get no further than this. */
  stallsAt = Number.POSITIVE_INFINITY
  /** How often somebody began to read. */
  reads = 0

  readonly layer: Layer.Layer<Broker> = Layer.succeed(
    Broker,
    Broker.of({
      publish: (envelopes) => Effect.sync(() => this.publish(...envelopes)),
      consume: () => Stream.fail(unavailable("refused")),
      changes: (after) => Stream.unwrap(Effect.map(this.#read(after), Stream.fromQueue))
    })
  )

  publish(...envelopes: ReadonlyArray<Envelope>): void {
    this.log.push(...envelopes)
    if (this.isAway) return
    for (const reader of this.#readers) Queue.offerAllUnsafe(reader, envelopes)
  }

  /** Everybody who reads loses the connection. */
  lose(): void {
    this.isAway = true
    this.#failReaders(unavailable("connection_lost"))
  }

  /** As after a backup was put back: positions begin anew and mean other events. */
  goOnWithAnotherLog(...envelopes: ReadonlyArray<Envelope>): void {
    this.log.splice(0, this.log.length, ...envelopes)
    this.#failReaders(new AnotherLog({ message: "the test says so" }))
  }

  #failReaders(error: Unavailable | AnotherLog): void {
    for (const reader of this.#readers) Queue.failCauseUnsafe(reader, Cause.fail(error))
    this.#readers.clear()
  }

  #read(after: Option.Option<Position>) {
    return Effect.gen({ self: this }, function* () {
      this.reads++
      if (this.isAway) return yield* unavailable("unreachable")
      const queue = yield* Queue.unbounded<Change, Unavailable | AnotherLog>()
      const next = Option.match(after, { onNone: () => this.retainedFrom, onSome: (position) => position + 1 })
      if (next < this.retainedFrom) return yield* unavailable("refused")
      const held = this.log.filter(({ position }) => position >= next && position <= this.stallsAt)
      Queue.offerAllUnsafe(queue, held)
      if (this.stallsAt === Number.POSITIVE_INFINITY) Queue.offerUnsafe(queue, atPresent)
      this.#readers.add(queue)
      return queue
    })
  }
}
