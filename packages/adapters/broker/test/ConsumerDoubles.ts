// A broker and a parking place in memory, for the runner's own rules. Deliveries come in the order published; what is not
// acknowledged when a stream of deliveries ends comes again to the next one.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Position, StreamId } from "@holdfast/contracts/Ids"
import { Parking } from "@holdfast/database/ParkedEvents"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Cause, Effect, Layer, Option, Queue, Stream } from "effect"
import { Broker, type Delivery } from "../src/Broker.ts"

export const away = (dependency: "broker" | "database", reason: Unavailable["reason"] = "unreachable") =>
  new Unavailable({ dependency, reason, retryAfterMs: 1, detail: "not there" })

export const makeBrokerDouble = () => {
  const log: Array<Envelope> = []
  const acknowledged: Array<Position> = []
  let consuming: Queue.Queue<Delivery, Unavailable> | null = null
  let consumed = 0
  const offer = (envelope: Envelope) => {
    if (consuming === null) return
    Queue.offerUnsafe(consuming, {
      envelope,
      partition: 0,
      ack: Effect.sync(() => void acknowledged.push(envelope.position))
    })
  }
  const publish = (envelopes: ReadonlyArray<Envelope>) => {
    for (const envelope of envelopes) {
      log.push(envelope)
      offer(envelope)
    }
  }
  const consume = Stream.unwrap(
    Effect.gen(function* () {
      const queue = yield* Queue.unbounded<Delivery, Unavailable>()
      consuming = queue
      consumed++
      for (const one of log.filter(({ position }) => !acknowledged.includes(position))) offer(one)
      return Stream.fromQueue(queue)
    })
  )
  return {
    acknowledged,
    publish,
    /** How often somebody began to consume. */
    consumed: () => consumed,
    breakOff: () => {
      if (consuming !== null) Queue.failCauseUnsafe(consuming, Cause.fail(away("broker")))
    },
    layer: Layer.succeed(
      Broker,
      Broker.of({
        publish: (envelopes) => Effect.sync(() => publish(envelopes)),
        consume: () => consume,
        changes: () => Stream.never
      })
    )
  }
}

export const makeParkingDouble = () => {
  const streams = new Map<StreamId, Array<{ envelope: Envelope; reason: string; attempts: number }>>()
  const replaying = new Set<StreamId>()
  const add = (envelope: Envelope, reason: string, attempts: number) => {
    const parked = streams.get(envelope.streamId) ?? []
    streams.set(envelope.streamId, parked)
    if (parked.every((one) => one.envelope.eventId !== envelope.eventId)) parked.push({ envelope, reason, attempts })
  }
  return {
    parked: () => [...streams.values()].flat(),
    replay: (streamId: StreamId) => replaying.add(streamId),
    layer: Layer.succeed(
      Parking,
      Parking.of({
        blockedStreams: () => Effect.sync(() => new Set(streams.keys())),
        park: (_group, envelope, reason, attempts) => Effect.sync(() => add(envelope, reason, attempts)),
        parkBehind: (_group, envelope) =>
          Effect.sync(() => {
            if (!streams.has(envelope.streamId)) return false
            add(envelope, "behind", 0)
            return true
          }),
        claimReplay: () =>
          Effect.sync(() => {
            const [streamId] = replaying
            return Option.fromNullishOr(streamId === undefined ? undefined : streams.get(streamId)?.[0]?.envelope)
          }),
        resolve: (_group, envelope) =>
          Effect.sync(() => {
            const left =
              streams.get(envelope.streamId)?.filter((one) => one.envelope.eventId !== envelope.eventId) ?? []
            if (left.length > 0) return void streams.set(envelope.streamId, left)
            streams.delete(envelope.streamId)
            replaying.delete(envelope.streamId)
          }),
        giveBack: (_group, envelope) => Effect.sync(() => void replaying.delete(envelope.streamId))
      })
    )
  }
}
