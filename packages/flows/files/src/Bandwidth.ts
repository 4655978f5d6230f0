// Bytes a second, shared out fairly: no client gets more than its bound, all together get no more than theirs, and while more is wanted
// than there is, each client that waits gets the same, however many transfers it has. Pure: whoever uses it brings the time and waits.
// Over any time, what passes is at most what the bound allows for it, a tenth of a second more, and one piece.

export interface BandwidthLimits {
  readonly bytesPerSecondMax: number
  readonly bytesPerSecondPerClientMax: number
}

/** Bytes of one transfer that wait for their turn. */
export interface Turn {
  readonly sizeBytes: number
  readonly onGranted: () => void
}

/** What a line that was idle may catch up, which a timer that comes late takes nothing from; also how long a piece should take at most. */
export const burstMs = 100

export class Bandwidth {
  readonly #limits: BandwidthLimits
  readonly #total: Bucket
  readonly #lines = new Map<string, Line>()
  /** How much a client has had that always took its turn: where one that did not begins. */
  #fairBytes = 0

  constructor(limits: BandwidthLimits) {
    this.#limits = limits
    this.#total = newBucket(limits.bytesPerSecondMax)
  }

  /** Waits behind the client's own turns until `grant` lets it through. */
  ask(client: string, turn: Turn, nowMs: number): void {
    const line = this.#lines.get(client) ?? this.#newLine(client, nowMs)
    // Nobody saves up turns that it did not take.
    if (line.turns.length === 0) line.hadBytes = Math.max(line.hadBytes, this.#fairBytes)
    line.turns.push(turn)
  }

  /** Clients that owe nothing any more are forgotten for it. One that left a moment ago is not: by coming anew it gains nothing. */
  #newLine(client: string, nowMs: number): Line {
    for (const [other, { bucket, turns }] of this.#lines) {
      if (turns.length === 0 && bucket.paidUntilMs <= nowMs - burstMs) this.#lines.delete(other)
    }
    const bucket = newBucket(this.#limits.bytesPerSecondPerClientMax)
    const line: Line = { bucket, turns: [], hadBytes: 0 }
    this.#lines.set(client, line)
    return line
  }

  /** Its owner no longer waits. */
  withdraw(client: string, turn: Turn): void {
    const turns = this.#lines.get(client)?.turns ?? []
    const place = turns.indexOf(turn)
    if (place !== -1) turns.splice(place, 1)
  }

  /** Lets through what may pass by now; in how many milliseconds more may, null when nobody waits. */
  grant(nowMs: number): number | null {
    for (;;) {
      const waiting = [...this.#lines.values()].filter(({ turns }) => turns.length > 0)
      const dueMs = Math.min(...waiting.map(({ bucket }) => bucket.paidUntilMs))
      const waitMs = Math.max(this.#total.paidUntilMs, dueMs) - nowMs
      if (waiting.length === 0) return null
      if (waitMs > 0) return Math.ceil(waitMs)
      this.#letThrough(nextOf(waiting, nowMs), nowMs)
    }
  }

  #letThrough(line: Line, nowMs: number): void {
    const turn = line.turns.shift()
    if (turn === undefined) return
    for (const bucket of [this.#total, line.bucket]) pay(bucket, turn.sizeBytes, nowMs)
    this.#fairBytes = line.hadBytes
    line.hadBytes += turn.sizeBytes
    turn.onGranted()
  }

  /** How many clients are remembered. */
  get clients(): number {
    return this.#lines.size
  }
}

/** Of those that have paid for what they had, the one that had least. */
const nextOf = (waiting: ReadonlyArray<Line>, nowMs: number): Line =>
  waiting
    .filter(({ bucket }) => bucket.paidUntilMs <= nowMs)
    .reduce((first, line) => (line.hadBytes < first.hadBytes ? line : first))

interface Line {
  readonly bucket: Bucket
  readonly turns: Array<Turn>
  /** Counted as if it had always taken its turn. */
  hadBytes: number
}

interface Bucket {
  readonly bytesPerSecond: number
  /** When everything that was let through is paid for. */
  paidUntilMs: number
}

const newBucket = (bytesPerSecond: number): Bucket => ({ bytesPerSecond, paidUntilMs: Number.NEGATIVE_INFINITY })

const pay = (bucket: Bucket, sizeBytes: number, nowMs: number): void => {
  bucket.paidUntilMs = Math.max(bucket.paidUntilMs, nowMs - burstMs) + (sizeBytes * 1000) / bucket.bytesPerSecond
}
