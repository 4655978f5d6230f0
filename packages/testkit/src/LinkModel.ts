// One direction of a bad line, as arithmetic: which packets arrive, when, how often and how damaged. Everything random follows from the
// seed and the order of the packets, so the same seed is the same line. It moves no bytes; `LinkRelay.ts` does.

/** From here to the far end, and from there to here. */
export type LinkDirection = "outward" | "inward"

/** Shares are between 0 and 1 and of packets. */
export interface LinkProfile {
  /** On the way in this direction; a round trip takes both. */
  readonly delayMs: number
  /** Added to the delay, between 0 and this; it never reorders. */
  readonly jitterMs: number
  readonly loss: number
  /** Bad moments: how likely a packet begins one and how likely it ends one. All packets in between are lost. */
  readonly burst: { readonly begin: number; readonly end: number } | null
  readonly duplicate: number
  /** Held back, so that later packets overtake. */
  readonly reorder: number
  readonly reorderDelayMs: number
  /** One bit turned over; the receiver's checksum notices. */
  readonly corrupt: number
  /** Null for as fast as the machine is. */
  readonly bitsPerSecond: number | null
  /** What waits for a slow line; more is lost. */
  readonly queueBytesMax: number
}

/** A line without faults. */
export const perfect: LinkProfile = {
  delayMs: 0,
  jitterMs: 0,
  loss: 0,
  burst: null,
  duplicate: 0,
  reorder: 0,
  reorderDelayMs: 20,
  corrupt: 0,
  bitsPerSecond: null,
  queueBytesMax: 65_536
}

/** Packets, but for `bytes`. */
export interface LinkCounts {
  readonly offered: number
  readonly delivered: number
  /** By chance, in a bad moment, because the queue was full, and while the line was cut. */
  readonly lost: number
  readonly lostInBurst: number
  readonly overflowed: number
  readonly cut: number
  readonly duplicated: number
  readonly reordered: number
  readonly corrupted: number
  /** Delivered. */
  readonly bytes: number
}

export const noCounts: LinkCounts = {
  offered: 0,
  delivered: 0,
  lost: 0,
  lostInBurst: 0,
  overflowed: 0,
  cut: 0,
  duplicated: 0,
  reordered: 0,
  corrupted: 0,
  bytes: 0
}

/** One arrival of a packet. */
export interface Arrival {
  readonly atMs: number
  /** Which bit is turned over. */
  readonly turnedBit: number | null
}

export class LinkModel {
  profile: LinkProfile = perfect
  isCut = false
  counts: LinkCounts = noCounts
  readonly #random: () => number
  #isBad = false
  #sentAtMs = 0
  #arrivedAtMs = 0

  constructor(seed: number) {
    this.#random = randomOf(seed)
  }

  /** When the packet arrives: never, once, or twice. */
  offer(bytes: number, nowMs: number): ReadonlyArray<Arrival> {
    this.#count("offered")
    const lost = this.#lostBy(bytes, nowMs)
    if (lost !== null) {
      this.#count(lost)
      return []
    }
    const arrival = this.#arrival(bytes, nowMs)
    this.#count("delivered")
    this.#count("bytes", bytes)
    if (!this.#happens(this.profile.duplicate)) return [arrival]
    this.#count("duplicated")
    return [arrival, arrival]
  }

  #lostBy(bytes: number, nowMs: number): "cut" | "lostInBurst" | "lost" | "overflowed" | null {
    const { bitsPerSecond, burst, loss, queueBytesMax } = this.profile
    if (this.isCut) return "cut"
    if (burst === null) this.#isBad = false
    else if (this.#happens(this.#isBad ? burst.end : burst.begin)) this.#isBad = !this.#isBad
    if (this.#isBad) return "lostInBurst"
    if (this.#happens(loss)) return "lost"
    const waitingBytes = bitsPerSecond === null ? 0 : ((this.#sentAtMs - nowMs) * bitsPerSecond) / 8000
    return waitingBytes + bytes > queueBytesMax ? "overflowed" : null
  }

  #arrival(bytes: number, nowMs: number): Arrival {
    const { bitsPerSecond, corrupt, delayMs, jitterMs, reorder, reorderDelayMs } = this.profile
    const sendingMs = bitsPerSecond === null ? 0 : (bytes * 8000) / bitsPerSecond
    this.#sentAtMs = Math.max(this.#sentAtMs, nowMs) + sendingMs
    const inOrderMs = Math.max(this.#arrivedAtMs, this.#sentAtMs + delayMs + jitterMs * this.#random())
    const isHeldBack = this.#happens(reorder)
    if (isHeldBack) this.#count("reordered")
    else this.#arrivedAtMs = inOrderMs
    const isDamaged = this.#happens(corrupt)
    if (isDamaged) this.#count("corrupted")
    return {
      atMs: isHeldBack ? inOrderMs + reorderDelayMs : inOrderMs,
      turnedBit: isDamaged ? Math.floor(this.#random() * bytes * 8) : null
    }
  }

  /** What cannot happen draws no number. */
  #happens(share: number): boolean {
    return share > 0 && this.#random() < share
  }

  #count(what: keyof LinkCounts, by = 1): void {
    this.counts = { ...this.counts, [what]: this.counts[what] + by }
  }
}

/** The generator "mulberry32": small, and good enough to lose packets by. */
const randomOf = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
