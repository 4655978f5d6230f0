// The newest events, so that a client may come back to any gateway and resume. Positions are gapless, so an event's place is its
// position less the first one's. Bounded three ways: events, estimated bytes and age. What it promises: every event after a cursor
// that it covers, in order; and it says when it does not cover one.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Position } from "@holdfast/contracts/Ids"
import { DateTime } from "effect"

export interface WindowBounds {
  readonly eventsMax: number
  readonly bytesMax: number
  readonly ageMsMax: number
}

/** known: it was here already. gap: events between are missing, nothing was kept. */
export type Appended = "appended" | "known" | "gap"

export class Window {
  readonly #bounds: WindowBounds
  #events: Array<Envelope> = []
  /** Dropped events still at the front of the array; it is cut when half of it is dropped. */
  #dropped = 0
  #bytes = 0
  #head: Position | null = null

  constructor(bounds: WindowBounds) {
    this.#bounds = bounds
  }

  /** The newest event's position; null while nothing is known. */
  get head(): Position | null {
    return this.#head
  }

  get size(): number {
    return this.#events.length - this.#dropped
  }

  get bytes(): number {
    return this.#bytes
  }

  /** The oldest event that a reader can still have; null when none is kept. */
  get oldest(): Position | null {
    return this.#events[this.#dropped]?.position ?? null
  }

  append(envelope: Envelope): Appended {
    if (this.#head !== null && envelope.position <= this.#head) return "known"
    if (this.#head !== null && envelope.position > this.#head + 1) return "gap"
    this.#events.push(envelope)
    this.#head = envelope.position
    this.#bytes += bytesOf(envelope)
    while (this.size > this.#bounds.eventsMax || (this.#bytes > this.#bounds.bytesMax && this.size > 1))
      this.#dropOldest()
    return "appended"
  }

  /** Forgets everything and begins again at this event. */
  restart(envelope: Envelope): void {
    this.clear()
    this.append(envelope)
  }

  clear(): void {
    this.#events = []
    this.#dropped = 0
    this.#bytes = 0
    this.#head = null
  }

  /** Drops what is older than the window; the head stays known. */
  expire(nowMs: number): void {
    const oldestMs = nowMs - this.#bounds.ageMsMax
    for (;;) {
      const first = this.#events[this.#dropped]
      if (first === undefined || DateTime.toEpochMillis(first.occurredAt) >= oldestMs) return
      this.#dropOldest()
    }
  }

  /** Whether every event after this cursor is here. */
  covers(after: Position): boolean {
    if (this.#head === null) return false
    return after >= (this.oldest ?? this.#head + 1) - 1
  }

  /** The next events after a covered cursor, oldest first. */
  read(after: Position, countMax: number): ReadonlyArray<Envelope> {
    const oldest = this.oldest
    if (oldest === null) return []
    const from = this.#dropped + Math.max(0, after + 1 - oldest)
    return this.#events.slice(from, from + countMax)
  }

  #dropOldest(): void {
    const first = this.#events[this.#dropped]
    if (first === undefined) return
    this.#bytes -= bytesOf(first)
    this.#dropped++
    if (this.#dropped * 2 >= this.#events.length) {
      this.#events = this.#events.slice(this.#dropped)
      this.#dropped = 0
    }
  }
}

/** An estimate: text at two bytes a character, and what an envelope's objects take besides. */
const bytesOf = ({ event }: Envelope): number => 2048 + ("body" in event ? event.body.length * 2 : 0)
