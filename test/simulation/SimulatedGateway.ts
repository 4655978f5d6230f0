// The realtime gateway without its sockets: the real feed, hub, window and catching up, and simulated connections in the place of graphql-ws.
// What goes over a connection keeps its order; when it ends, what was on its way is lost. A client may be slow.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Position } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { catchUp } from "@holdfast/realtime/CatchUp"
import { makeFeed, runFeed } from "@holdfast/realtime/Feed"
import { Hub, type Operation, type Sink, type Subscription } from "@holdfast/realtime/Hub"
import type { Interest } from "@holdfast/realtime/Interest"
import { payloadOf } from "@holdfast/realtime/Payload"
import { Realtime } from "@holdfast/resilience/Limits"
import { Context, Duration, Effect, Latch } from "effect"
import type { SimulatedProcess } from "./SimulatedProcess.ts"

/** What a client hears. */
export interface Listener {
  readonly next: (payload: string) => void
  /** The subscription is over and the cursor is of no use. */
  readonly resync: () => void
  /** The connection has ended, whatever the reason. */
  readonly closed: () => void
}

export interface Connection {
  readonly close: () => void
}

export class SimulatedGateway extends Context.Service<
  SimulatedGateway,
  {
    readonly connect: (
      reader: Principal,
      interest: Interest,
      after: Position | null,
      latencyMs: () => number,
      listener: Listener
    ) => Connection
    readonly isLive: () => boolean
  }
>()("test/SimulatedGateway") {}

const boundsOf = (eventsMax: number) => ({
  eventsMax,
  bytesMax: 1_000_000,
  ageMsMax: Duration.toMillis(Realtime.windowAgeMax),
  catchUpEventsMax: 16,
  catchUpBufferedBytesMax: 4_000,
  catchUpMsMax: Duration.toMillis(Realtime.catchUpDeadline),
  encodedBytesMax: 20_000
})

/** Beyond it a live client is too slow. */
const bufferedBytesMax = 16_000

export const makeGateway = Effect.fnUntraced(function* (process: SimulatedProcess, windowEventsMax: number) {
  const wake = yield* Latch.make(false)
  const hub = new Hub(boundsOf(windowEventsMax), () => wake.openUnsafe())
  const feed = yield* makeFeed(hub)
  const open = new Set<() => void>()
  const closeAll = () => {
    for (const close of [...open]) close()
  }
  const events = { stateChanged: () => {}, broken: closeAll }
  yield* Effect.forkScoped(runFeed(hub, events))
  yield* Effect.forkScoped(catchUp(hub, feed, wake))
  const sweep = Effect.sync(() => hub.expire(feed.nowMs()))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(sweep, Effect.sleep(Realtime.sweepInterval))))
  yield* Effect.addFinalizer(() => Effect.sync(closeAll))
  const service: SimulatedGateway["Service"] = {
    connect: (reader, interest, after, latencyMs, listener) =>
      connect({ process, hub, open, nowMs: feed.nowMs }, reader, interest, after, latencyMs, listener),
    isLive: () => hub.state === "live"
  }
  return service
})

interface Serving {
  readonly process: SimulatedProcess
  readonly hub: Hub
  readonly open: Set<() => void>
  readonly nowMs: () => number
}

const connect = (
  { hub, nowMs, open, process }: Serving,
  reader: Principal,
  interest: Interest,
  after: Position | null,
  latencyMs: () => number,
  listener: Listener
): Connection => {
  const { world } = process
  let subscription: Subscription | null = null
  let isOpen = true
  let bufferedBytes = 0
  let lastAtMs = 0
  /** To the client, in order. */
  const travel = (arrive: () => void) => {
    lastAtMs = Math.max(lastAtMs, world.nowMs + latencyMs())
    world.after(lastAtMs - world.nowMs, arrive)
  }
  const close = () => {
    if (!isOpen) return
    isOpen = false
    open.delete(close)
    process.onEnd.delete(close)
    if (subscription !== null) hub.detach(subscription)
    world.after(latencyMs(), listener.closed)
  }
  const sink: Sink = {
    get bufferedBytes() {
      return bufferedBytes
    },
    send: (encoded) => {
      bufferedBytes += encoded.byteLength
      if (bufferedBytes > bufferedBytesMax) {
        world.coverage.hit("slow client closed")
        return close()
      }
      travel(() => {
        bufferedBytes -= encoded.byteLength
        if (isOpen) listener.next(decoder.decode(encoded))
      })
    },
    fail: () =>
      travel(() => {
        if (!isOpen) return
        listener.resync()
        close()
      }),
    overrun: close
  }
  open.add(close)
  process.onEnd.add(close)
  subscription = hub.attach(operationOf(interest, after), reader, sink, nowMs())
  if (!isOpen) hub.detach(subscription)
  return { close: () => process.post(close) }
}

const encoder = new TextEncoder()
const decoder = new TextDecoder()

const operationOf = (interest: Interest, after: Position | null): Operation => ({
  key: JSON.stringify(interest),
  interest,
  after,
  encode: (envelope: Envelope, change, reader) => encoder.encode(JSON.stringify(payloadOf(envelope, change, reader)))
})
