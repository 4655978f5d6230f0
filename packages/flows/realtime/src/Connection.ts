// One client's socket: who it is, until when, what it may send and how much may wait for it. Everything that leaves goes through
// here, so the bound on unsent bytes holds for events and answers alike; what exceeds it ends this socket and delays nobody else.
import type { Principal } from "@holdfast/contracts/Principal"
import { Realtime } from "@holdfast/resilience/Limits"
import { ByteSize, Duration } from "effect"
import type { WebSocket } from "ws"
import { type Closing, slowClient, tokenExpired } from "./Closing.ts"
import type { Feed } from "./Feed.ts"
import type { Hub, Operation } from "./Hub.ts"
import type { PresenceHub, PresenceOperation } from "./PresenceHub.ts"
import { makeRun, type Run } from "./Run.ts"

const bufferedBytesMax = ByteSize.toNumberUnsafe(Realtime.bufferedBytesMax)
const pingMs = Duration.toMillis(Realtime.pingInterval)
const silenceMsMax = Duration.toMillis(Realtime.silenceMax)
const closingBrace = 0x7d

export class Connection {
  readonly #socket: WebSocket
  readonly #feed: Feed
  readonly #runs = new Set<Run>()
  #principal: Principal | null = null
  #expiresAtMs = Number.POSITIVE_INFINITY
  #lastHeardMs: number
  #lastPingMs: number
  #messageBudget: number = Realtime.messagesBurstMax
  queriesUnderWay = 0

  constructor(socket: WebSocket, feed: Feed) {
    this.#socket = socket
    this.#feed = feed
    this.#lastHeardMs = feed.nowMs()
    this.#lastPingMs = this.#lastHeardMs
  }

  get principal(): Principal | null {
    return this.#principal
  }

  get subscriptionCount(): number {
    return this.#runs.size
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  authenticated(principal: Principal, expiresAtMs: number): void {
    this.#principal = principal
    this.#expiresAtMs = expiresAtMs
  }

  /** Notes that the client lives; false: it sends more than a client has reason to. */
  heard(): boolean {
    const nowMs = this.#feed.nowMs()
    const earned = ((nowMs - this.#lastHeardMs) / 1000) * Realtime.messagesPerSecondMax
    this.#messageBudget = Math.min(Realtime.messagesBurstMax, this.#messageBudget + earned) - 1
    this.#lastHeardMs = nowMs
    return this.#messageBudget >= 0
  }

  send(message: string | Uint8Array): void {
    if (!this.isOpen) return
    this.#socket.send(message, { binary: false })
    if (this.#socket.bufferedAmount > bufferedBytesMax) this.close(slowClient)
  }

  /** A `next` message from parts: what is this subscription's own, and what it shares with others. */
  sendNext(prefix: Uint8Array, payload: Uint8Array): void {
    const message = Buffer.allocUnsafe(prefix.byteLength + payload.byteLength + 1)
    message.set(prefix, 0)
    message.set(payload, prefix.byteLength)
    message[message.byteLength - 1] = closingBrace
    this.send(message)
  }

  /** The subscription as graphql-ws drives it. */
  run(hub: Hub, id: string, operation: Operation, reader: Principal): Run {
    const run = makeRun({
      id,
      connection: this,
      start: (sink) => hub.attach(operation, reader, sink, this.#feed.nowMs()),
      ended: (subscription) => {
        this.#runs.delete(run)
        if (subscription !== null) hub.detach(subscription)
      }
    })
    this.#runs.add(run)
    return run
  }

  /** The same for who is on a ticket, which is no feed of events. */
  runPresence(presence: PresenceHub, id: string, operation: PresenceOperation, reader: Principal): Run {
    const run = makeRun({
      id,
      connection: this,
      start: (sink) => presence.watch(operation, reader, (encoded) => sink.send(encoded), this.#feed.nowMs()),
      ended: (watching) => {
        this.#runs.delete(run)
        if (watching !== null) presence.unwatch(watching, this.#feed.nowMs())
      }
    })
    this.#runs.add(run)
    return run
  }

  ping(): void {
    if (this.#principal === null) return
    this.#lastPingMs = this.#feed.nowMs()
    const isCaughtUp = [...this.#runs].every((run) => run.isCaughtUp())
    this.send(JSON.stringify({ type: "ping", payload: { feed: this.#feed.report(isCaughtUp) } }))
  }

  /** What time asks for: the token's end, a ping, the end of a client that is gone. */
  sweep(nowMs: number): void {
    if (nowMs >= this.#expiresAtMs) this.close(tokenExpired)
    else if (nowMs - this.#lastHeardMs >= silenceMsMax) this.#socket.terminate()
    else if (nowMs - this.#lastPingMs >= pingMs) this.ping()
  }

  close({ code, reason }: Closing): void {
    this.end()
    this.#socket.close(code, reason)
  }

  terminate(): void {
    this.end()
    this.#socket.terminate()
  }

  /** Ends every subscription; the socket may have closed by itself. */
  end(): void {
    for (const run of this.#runs) void run.return()
  }
}
