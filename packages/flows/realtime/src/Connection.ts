// One client's connection, by a socket or an event stream: who it is, until when, what it may send and how much may wait for it.
// Everything that leaves goes through here, so the bound on unsent bytes holds for events and answers alike; what exceeds it ends this
// connection and delays nobody else.
import type { Position } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { Realtime } from "@holdfast/resilience/Limits"
import { ByteSize, Duration } from "effect"
import { type Closing, slowClient, tokenExpired } from "./Closing.ts"
import type { Feed, FeedReport } from "./Feed.ts"
import type { Hub, Operation } from "./Hub.ts"
import type { PresenceOperation } from "./PresenceHub.ts"
import type { PresenceService } from "./PresenceService.ts"
import { makeRun, type Run } from "./Run.ts"

const bufferedBytesMax = ByteSize.toNumberUnsafe(Realtime.bufferedBytesMax)
const pingMs = Duration.toMillis(Realtime.pingInterval)
const silenceMsMax = Duration.toMillis(Realtime.silenceMax)

/** What is said to one client, or an event: the subscription's own part, and the payload, which all who are told of it share. */
export type Message = string | { readonly own: Uint8Array; readonly encoded: Uint8Array }

/** One event's message from what it shares with others; null: nobody can resume after it. */
export type Frame = (encoded: Uint8Array, position: Position | null) => Message

/** What carries a connection. */
export interface Transport {
  readonly isOpen: boolean
  /** Bytes that the client has not taken yet. */
  readonly bufferedBytes: number
  /** For the events of the operation with this id. */
  frame(id: string): Frame
  send(message: Message): void
  /** Tells how the feed is, and keeps the line from being silent. */
  tell(report: FeedReport): void
  /** Says why, and ends. Again is harmless. */
  close(closing: Closing): void
  /** Ends without a word. */
  terminate(): void
}

export class Connection {
  readonly #transport: Transport
  readonly #feed: Feed
  readonly #runs = new Set<Run>()
  #principal: Principal | null = null
  #expiresAtMs = Number.POSITIVE_INFINITY
  #lastHeardMs: number
  #lastPingMs: number
  #messageBudget: number = Realtime.messagesBurstMax
  queriesUnderWay = 0

  constructor(transport: Transport, feed: Feed) {
    this.#transport = transport
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
    return this.#transport.bufferedBytes
  }

  get isOpen(): boolean {
    return this.#transport.isOpen
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

  /** Ends the connection once its token's time is over; not only when it is swept, for until then events could pass. */
  hasExpired(): boolean {
    if (this.#feed.nowMs() < this.#expiresAtMs) return false
    if (this.isOpen) this.close(tokenExpired)
    return true
  }

  /** Notes that the client took what it was sent: over a stream it has no other way to say that it lives. */
  took(): void {
    this.#lastHeardMs = this.#feed.nowMs()
  }

  send(message: Message): void {
    if (!this.isOpen || this.hasExpired()) return
    this.#transport.send(message)
    this.#boundUnsent()
  }

  /** The subscription as its protocol drives it. */
  run(hub: Hub, id: string, operation: Operation, reader: Principal): Run {
    const run = makeRun({
      frame: this.#transport.frame(id),
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
  runPresence({ hub, refusal }: PresenceService, id: string, operation: PresenceOperation, reader: Principal): Run {
    const run = makeRun({
      frame: this.#transport.frame(id),
      connection: this,
      refusal: () => refusal(reader, operation.presenceOf),
      start: (sink) => hub.watch(operation, reader, (encoded) => sink.send(encoded, null), this.#feed.nowMs()),
      ended: (watching) => {
        this.#runs.delete(run)
        if (watching !== null) hub.unwatch(watching, this.#feed.nowMs())
      }
    })
    this.#runs.add(run)
    return run
  }

  ping(): void {
    if (this.#principal === null || !this.isOpen || this.hasExpired()) return
    this.#lastPingMs = this.#feed.nowMs()
    const isCaughtUp = [...this.#runs].every((run) => run.isCaughtUp())
    this.#transport.tell(this.#feed.report(isCaughtUp))
    this.#boundUnsent()
  }

  /** What time asks for: the token's end, a ping, the end of a client that is gone. */
  sweep(nowMs: number): void {
    if (this.isOpen && this.hasExpired()) return
    if (nowMs - this.#lastHeardMs >= silenceMsMax) this.#transport.terminate()
    else if (nowMs - this.#lastPingMs >= pingMs) this.ping()
  }

  close(closing: Closing): void {
    this.end()
    this.#transport.close(closing)
  }

  terminate(): void {
    this.end()
    this.#transport.terminate()
  }

  #boundUnsent(): void {
    if (this.bufferedBytes > bufferedBytesMax) this.close(slowClient)
  }

  /** Ends every subscription; the connection may have closed by itself. */
  end(): void {
    for (const run of this.#runs) void run.return()
  }
}
