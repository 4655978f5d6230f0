// What the core database keeps for reactions: parked events, the cursors of the embedded broker's groups, and the queues of webhooks.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { DueDelivery } from "@holdfast/database/WebhookDeliveries"
import { Parking, Webhooks } from "@holdfast/resilience/Limits"
import { Duration } from "effect"

interface Blocked {
  readonly events: Array<{ readonly envelope: Envelope; reason: string }>
  replay: boolean
  leaseUntilMs: number
}

interface Queued {
  readonly envelope: Envelope
  state: "pending" | "delivered" | "failed"
  attempts: number
  nextMs: number
  readonly createdMs: number
}

export class PostgresReactions {
  readonly cursors = new Map<string, number>()
  /** By group and stream. */
  readonly blocked = new Map<string, Blocked>()
  /** By endpoint, then event. */
  readonly deliveries = new Map<string, Map<string, Queued>>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  blockedStreams(group: string): ReadonlyArray<string> {
    return [...this.blocked.keys()]
      .filter((key) => key.startsWith(`${group} `))
      .map((key) => key.slice(group.length + 1))
  }

  park(group: string, envelope: Envelope, reason: string): void {
    const key = `${group} ${envelope.streamId}`
    const blocked = this.blocked.get(key) ?? { events: [], replay: false, leaseUntilMs: 0 }
    this.blocked.set(key, blocked)
    if (blocked.events.some((one) => one.envelope.eventId === envelope.eventId)) return
    blocked.events.push({ envelope, reason })
    blocked.events.sort((a, b) => a.envelope.position - b.envelope.position)
  }

  parkBehind(group: string, envelope: Envelope): boolean {
    if (!this.blocked.has(`${group} ${envelope.streamId}`)) return false
    this.park(group, envelope, "waits behind an earlier event of its stream")
    return true
  }

  /** An operator says so for everything. */
  replayAll(): number {
    for (const blocked of this.blocked.values()) blocked.replay = true
    return this.blocked.size
  }

  claimReplay(group: string): Envelope | null {
    for (const [key, blocked] of this.blocked) {
      if (!key.startsWith(`${group} `) || !blocked.replay || blocked.leaseUntilMs > this.#now()) continue
      blocked.leaseUntilMs = this.#now() + Duration.toMillis(Parking.lease)
      return blocked.events[0]?.envelope ?? null
    }
    return null
  }

  resolve(group: string, envelope: Envelope): void {
    const key = `${group} ${envelope.streamId}`
    const blocked = this.blocked.get(key)
    if (blocked === undefined) return
    blocked.leaseUntilMs = 0
    const index = blocked.events.findIndex((one) => one.envelope.eventId === envelope.eventId)
    if (index >= 0) blocked.events.splice(index, 1)
    if (blocked.events.length === 0) this.blocked.delete(key)
  }

  giveBack(group: string, envelope: Envelope, reason: string): void {
    const blocked = this.blocked.get(`${group} ${envelope.streamId}`)
    if (blocked === undefined) return
    blocked.replay = false
    blocked.leaseUntilMs = 0
    const parked = blocked.events.find((one) => one.envelope.eventId === envelope.eventId)
    if (parked !== undefined) parked.reason = reason
  }

  enqueue(endpoint: string, envelope: Envelope): void {
    const queue = this.deliveries.get(endpoint) ?? new Map<string, Queued>()
    this.deliveries.set(endpoint, queue)
    if (queue.has(envelope.eventId)) return
    const createdMs = this.#now()
    queue.set(envelope.eventId, { envelope, state: "pending", attempts: 0, nextMs: createdMs, createdMs })
  }

  claim(endpoint: string, countMax: number): ReadonlyArray<DueDelivery> {
    const nowMs = this.#now()
    const due = [...(this.deliveries.get(endpoint)?.values() ?? [])]
      .filter(({ nextMs, state }) => state === "pending" && nextMs <= nowMs)
      .sort((a, b) => a.nextMs - b.nextMs || a.envelope.position - b.envelope.position)
      .slice(0, countMax)
    for (const one of due) one.nextMs = nowMs + Duration.toMillis(Webhooks.claim)
    return due.map(({ attempts, createdMs, envelope }) => ({ envelope, attempts, ageMs: nowMs - createdMs }))
  }

  delivered(endpoint: string, eventId: string): void {
    const queued = this.deliveries.get(endpoint)?.get(eventId)
    if (queued === undefined) return
    queued.state = "delivered"
    queued.attempts++
  }

  failed(endpoint: string, eventId: string, retryAfter: Duration.Duration | null): void {
    const queued = this.deliveries.get(endpoint)?.get(eventId)
    if (queued === undefined) return
    queued.state = retryAfter === null ? "failed" : "pending"
    queued.attempts++
    queued.nextMs = this.#now() + (retryAfter === null ? 0 : Duration.toMillis(retryAfter))
  }
}
