// How long to wait before trying again, and whether the client as a whole may: one budget for all its calls, so that an outage met by many
// callers at once does not become a storm.
import { Requests } from "./Limits.ts"
import type { Timing } from "./Timing.ts"

export interface Backoff {
  readonly minMs: number
  readonly maxMs: number
}

/** Doubles with each attempt from 0; half of it is chance, so that clients cut at one moment do not come back at one moment. */
export const backoffMs = ({ maxMs, minMs }: Backoff, attempt: number, random: () => number): number =>
  Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30)) * (0.5 + random() / 2)

/** A bucket of repetitions, filled by first attempts and by time. */
export class RetryBudget {
  readonly #timing: Timing
  #tokens: number = Requests.retriesBurstMax
  #filledAtMs: number

  constructor(timing: Timing) {
    this.#timing = timing
    this.#filledAtMs = timing.nowMs()
  }

  earn(): void {
    this.#add(Requests.retriesPerRequest)
  }

  /** Takes one repetition and tells how long to wait for it; null, and nothing is taken, when that is longer than the caller has. */
  spend(waitMsMax: number): number | null {
    const nowMs = this.#timing.nowMs()
    this.#add((Math.max(0, nowMs - this.#filledAtMs) / 1000) * Requests.retriesPerSecond)
    this.#filledAtMs = nowMs
    const waitMs = (Math.max(0, 1 - this.#tokens) / Requests.retriesPerSecond) * 1000
    if (waitMs > waitMsMax) return null
    this.#tokens -= 1
    return waitMs
  }

  #add(tokens: number): void {
    this.#tokens = Math.min(Requests.retriesBurstMax, this.#tokens + tokens)
  }
}

export interface Patience {
  readonly timing: Timing
  readonly budget: RetryBudget
}

/** How long to wait before another attempt; null when there is no time or no budget for one. */
export const waitBefore = (
  { budget, timing }: Patience,
  attempt: number,
  adviceMs: number,
  untilMs: number
): number | null => {
  const leftMs = untilMs - timing.nowMs()
  const { backoffMaxMs: maxMs, backoffMinMs: minMs } = Requests
  // Advice is the same for everybody, so chance is added to it rather than taken from it.
  const wishMs = adviceMs + backoffMs({ minMs, maxMs }, attempt, timing.random)
  if (wishMs >= leftMs) return null
  const budgetMs = budget.spend(leftMs)
  return budgetMs === null ? null : Math.max(wishMs, budgetMs)
}
