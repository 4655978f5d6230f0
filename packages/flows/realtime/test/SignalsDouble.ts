// Signals in memory for tests: what gateways on the same double say reaches all of them, until it is cut.
import { Signals } from "@holdfast/broker/Signals"
import { Effect, Layer, Queue, Stream } from "effect"

export class SignalsDouble {
  readonly #listeners = new Set<Queue.Queue<string>>()
  /** Everything that was said, heard or not. */
  readonly said: Array<string> = []
  isAway = false

  readonly layer: Layer.Layer<Signals> = Layer.succeed(
    Signals,
    Signals.of({
      publish: (signal) => Effect.sync(() => this.#say(signal)),
      received: Stream.unwrap(
        Effect.map(Queue.unbounded<string>(), (queue) => {
          this.#listeners.add(queue)
          return Stream.fromQueue(queue)
        })
      )
    })
  )

  #say(signal: string): void {
    this.said.push(signal)
    if (this.isAway) return
    for (const listener of this.#listeners) Queue.offerUnsafe(listener, signal)
  }
}
