// Signals without a server of their own: notices of the core database. A process's own come back to it too, as from RabbitMQ.
import { Notices } from "@holdfast/database/Notices"
import { Presence as Limits } from "@holdfast/resilience/Limits"
import { Effect, Layer, Stream } from "effect"
import { Signals } from "./Signals.ts"
import { makeWaiting } from "./SignalsWaiting.ts"

const channel = "holdfast_signal"

export const layer = Layer.effect(
  Signals,
  Effect.gen(function* () {
    const notices = yield* Notices
    const publish = yield* makeWaiting((signal) => notices.tell(channel, signal))
    const received = notices
      .heard(channel)
      .pipe(Stream.buffer({ capacity: Limits.signalsWaitingMax, strategy: "sliding" }))
    return Signals.of({ publish, received })
  })
)
