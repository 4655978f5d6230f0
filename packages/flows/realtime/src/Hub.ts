// Who hears what: the window of events, the subscriptions, and the one place where an event meets them. Plain objects in one
// thread, without clock, socket or Effect, so that "each event exactly once, in order" is a property that tests drive by hand.
//
// A subscription is either live (it has everything up to the window's head and is handed each new event) or waiting (it has a
// cursor and reads the window at its own pace, see `pump`). It goes live only when its cursor is the head, in the same turn, so no
// event can fall between. Subscriptions with the same operation and audience share a group: an event is matched, shaped and
// encoded once for all of them.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import type { ListChange } from "@holdfast/domain/ticket/TicketLists"
import { DateTime } from "effect"
import { type EncodedCache, makeEncodedCache } from "./EncodedCache.ts"
import { audienceOf, changeFor, type Interest, toldOf } from "./Interest.ts"
import { ResyncRequired } from "./ResyncRequired.ts"
import { Window, type WindowBounds } from "./Window.ts"

/** What a client asked for, ready to run. Equal keys mean equal answers to the same event, for the same audience. */
export interface Operation {
  readonly key: string
  readonly interest: Interest
  /** Resume after this position; null: live from now. */
  readonly after: Position | null
  /** The payload of one `next` message, as it goes over the wire; the same for every reader of one audience. */
  readonly encode: (envelope: Envelope, change: ListChange, reader: Principal) => Uint8Array
}

/** Where a subscription's events go. */
export interface Sink {
  send(encoded: Uint8Array, position: Position | null): void
  /** Bytes that the client has not taken yet. */
  readonly bufferedBytes: number
  /** The subscription has ended; nothing follows. */
  fail(error: ResyncRequired): void
  /** The client takes nothing for too long. */
  overrun(): void
}

export interface HubBounds extends WindowBounds {
  readonly catchUpEventsMax: number
  readonly catchUpBufferedBytesMax: number
  readonly catchUpMsMax: number
  readonly encodedBytesMax: number
}

/** loading: the window is being read and the present is not reached. live. stale: the broker is lost. */
export type FeedState = "loading" | "live" | "stale"

interface Group {
  readonly key: string
  readonly operation: Operation
  readonly reader: Principal
  readonly live: Set<Subscription>
  memberCount: number
}

export interface Subscription {
  readonly group: Group
  isLive: boolean
  readonly sink: Sink
  /** Has everything up to here; null: wants everything from the present on, which is not known yet. */
  cursor: Position | null
  readonly sinceMs: number
  blockedSinceMs: number | null
}

/** moved: go on soon. blocked: the client is slow. idle: nothing to read until the next event. done: live or ended. */
export type Pumped = "moved" | "blocked" | "idle" | "done"

export class Hub {
  readonly window: Window
  readonly #bounds: HubBounds
  readonly #groups = new Map<string, Group>()
  readonly #byStream = new Map<string, Set<Group>>()
  readonly #lists = new Set<Group>()
  /** Those who wait to be told by name. */
  readonly #byPerson = new Map<string, Set<Group>>()
  readonly #waiting = new Set<Subscription>()
  /** Those of the waiting that want everything from the present on, which is not known yet. */
  readonly #unplaced = new Set<Subscription>()
  readonly #encoded: EncodedCache
  readonly #wake: () => void
  #state: FeedState = "loading"
  #isPresentKnown = false
  #work = 0
  #liveBytes = 0

  /** `wake`: subscriptions that wait may have something to read, so somebody should `pump` them. */
  constructor(bounds: HubBounds, wake: () => void) {
    this.#bounds = bounds
    this.#wake = wake
    this.window = new Window(bounds)
    this.#encoded = makeEncodedCache(bounds.encodedBytesMax)
  }

  get state(): FeedState {
    return this.#state
  }

  get waiting(): ReadonlySet<Subscription> {
    return this.#waiting
  }

  /** Events looked at for one subscription and events sent, ever: by its growth a turn of the loop is measured, for there is no clock here. */
  get work(): number {
    return this.#work
  }

  /** Encoded for who is live, ever: no live socket can have been sent more. */
  get liveBytes(): number {
    return this.#liveBytes
  }

  get groupCount(): number {
    return this.#groups.size
  }

  attach(operation: Operation, reader: Principal, sink: Sink, nowMs: number): Subscription {
    const group = this.#groupOf(operation, reader)
    const cursor = operation.after ?? (this.#isPresentKnown ? this.window.head : null)
    const subscription: Subscription = { group, isLive: false, sink, cursor, sinceMs: nowMs, blockedSinceMs: null }
    group.memberCount++
    this.#waiting.add(subscription)
    if (cursor === null) this.#unplaced.add(subscription)
    this.pump(subscription, nowMs)
    this.#wakeWaiting()
    return subscription
  }

  /** Nothing is sent to it from here on. Again is harmless. */
  detach(subscription: Subscription): void {
    const { group } = subscription
    const wasWaiting = this.#waiting.delete(subscription)
    const wasLive = group.live.delete(subscription)
    this.#unplaced.delete(subscription)
    if (!wasWaiting && !wasLive) return
    group.memberCount--
    if (group.memberCount === 0) this.#drop(group)
  }

  /** Takes the next event of the feed. Repeated ones are ignored; after a gap everybody must read afresh. */
  append(envelope: Envelope): void {
    const appended = this.window.append(envelope)
    if (appended === "known") return
    if (appended === "gap") this.#restart(envelope)
    else this.#deliver(envelope)
    this.#beginAt(envelope)
    this.#wakeWaiting()
  }

  /** Other events have these positions from now on: nobody's cursor means anything, and everybody must read afresh. */
  forget(): void {
    this.window.clear()
    for (const group of this.#groups.values()) for (const subscription of group.live) this.#resync(subscription)
    for (const subscription of this.#waiting) if (subscription.cursor !== null) this.#resync(subscription)
  }

  setState(state: FeedState): void {
    this.#state = state
    if (state !== "live") return
    this.#isPresentKnown = true
    for (const subscription of this.#unplaced) this.#begin(subscription, this.window.head)
    this.#wakeWaiting()
  }

  /** Age counts only while the feed is live: an outage must not cost a client its place. */
  expire(nowMs: number): void {
    if (this.#state === "live") this.window.expire(nowMs)
  }

  /** Hands a waiting subscription its next events, as many as its client can take now. */
  pump(subscription: Subscription, nowMs: number): Pumped {
    const { cursor, group, sink } = subscription
    const { head } = this.window
    if (!this.#waiting.has(subscription)) return "done"
    if (cursor === null || head === null) return "idle"
    if (cursor > head) return this.#awaitFuture(subscription, cursor, head)
    if (!this.window.covers(cursor)) return this.#resync(subscription)
    if (cursor < head && sink.bufferedBytes > this.#bounds.catchUpBufferedBytesMax)
      return this.#block(subscription, nowMs)
    subscription.blockedSinceMs = null
    this.#readOn(subscription, cursor)
    const isStill = this.#waiting.delete(subscription)
    if (subscription.cursor !== head || !isStill) {
      // Behind the others: who has the next part is who has waited longest.
      if (isStill) this.#waiting.add(subscription)
      return "moved"
    }
    group.live.add(subscription)
    subscription.isLive = true
    return "done"
  }

  #wakeWaiting(): void {
    if (this.#waiting.size > 0) this.#wake()
  }

  #readOn(subscription: Subscription, cursor: Position): void {
    for (const envelope of this.window.read(cursor, this.#bounds.catchUpEventsMax)) {
      const encoded = this.#encodedFor(subscription.group, envelope)
      subscription.cursor = envelope.position
      this.#work++
      if (encoded === null) continue
      subscription.sink.send(encoded, envelope.position)
      // A send may find the socket too slow and close it, which detaches the subscription.
      if (!this.#waiting.has(subscription)) return
      if (subscription.sink.bufferedBytes > this.#bounds.catchUpBufferedBytesMax) return
    }
  }

  #encodedFor(group: Group, envelope: Envelope): Uint8Array | null {
    const change = changeFor(group.operation.interest, group.reader, envelope)
    if (change === null) return null
    const encode = () => group.operation.encode(envelope, change, group.reader)
    return group.memberCount === 1 ? encode() : this.#encoded(`${envelope.position} ${group.key}`, encode)
  }

  #deliver(envelope: Envelope): void {
    for (const group of this.#byStream.get(envelope.streamId) ?? []) this.#deliverTo(group, envelope)
    if (envelope.streamType === "ticket") for (const group of this.#lists) this.#deliverTo(group, envelope)
    if (this.#byPerson.size > 0) this.#tell(envelope)
  }

  #tell(envelope: Envelope): void {
    for (const id of toldOf(envelope)) {
      for (const group of this.#byPerson.get(id) ?? []) this.#deliverTo(group, envelope)
    }
  }

  #deliverTo(group: Group, envelope: Envelope): void {
    if (group.live.size === 0) return
    const change = changeFor(group.operation.interest, group.reader, envelope)
    if (change === null) return
    const encoded = group.operation.encode(envelope, change, group.reader)
    this.#work += group.live.size
    this.#liveBytes += encoded.byteLength
    for (const subscription of group.live) subscription.sink.send(encoded, envelope.position)
  }

  /** Who asked for the present while it was not known gets what happened after they asked. */
  #beginAt(envelope: Envelope): void {
    for (const subscription of this.#unplaced) {
      if (DateTime.toEpochMillis(envelope.occurredAt) < subscription.sinceMs) continue
      this.#begin(subscription, Position.make(envelope.position - 1))
    }
  }

  #begin(subscription: Subscription, cursor: Position | null): void {
    if (cursor === null) return
    subscription.cursor = cursor
    this.#unplaced.delete(subscription)
  }

  #restart(envelope: Envelope): void {
    this.window.restart(envelope)
    for (const group of this.#groups.values()) for (const subscription of group.live) this.#resync(subscription)
  }

  #resync(subscription: Subscription): Pumped {
    this.detach(subscription)
    subscription.sink.fail(new ResyncRequired({ oldestPosition: this.window.oldest, position: this.window.head }))
    return "done"
  }

  /** A snapshot may be a little ahead of this gateway. A cursor far ahead is of another desk, or of one before a restore. */
  #awaitFuture(subscription: Subscription, cursor: Position, head: Position): Pumped {
    const isAhead = cursor - head <= this.#bounds.eventsMax
    return this.#state !== "live" || isAhead ? "idle" : this.#resync(subscription)
  }

  #block(subscription: Subscription, nowMs: number): Pumped {
    subscription.blockedSinceMs ??= nowMs
    if (nowMs - subscription.blockedSinceMs < this.#bounds.catchUpMsMax) return "blocked"
    this.detach(subscription)
    subscription.sink.overrun()
    return "done"
  }

  #groupOf(operation: Operation, reader: Principal): Group {
    const key = `${audienceOf(operation.interest, reader)} ${operation.key}`
    const known = this.#groups.get(key)
    if (known !== undefined) return known
    const group: Group = { key, operation, reader, live: new Set(), memberCount: 0 }
    this.#groups.set(key, group)
    this.#index(group).add(group)
    return group
  }

  #index({ operation, reader }: Pick<Group, "operation" | "reader">): Set<Group> {
    const place = this.#placeOf(operation.interest, reader)
    if (place === null) return this.#lists
    const known = place.among.get(place.key) ?? new Set()
    place.among.set(place.key, known)
    return known
  }

  /** Null: among the lists. */
  #placeOf(interest: Interest, reader: Principal) {
    if (interest._tag === "TicketList") return null
    if (interest._tag === "Notifications") return { among: this.#byPerson, key: reader.id }
    return { among: this.#byStream, key: interest.id }
  }

  #drop(group: Group): void {
    const index = this.#index(group)
    index.delete(group)
    const place = this.#placeOf(group.operation.interest, group.reader)
    if (place !== null && index.size === 0) place.among.delete(place.key)
    this.#groups.delete(group.key)
  }
}
