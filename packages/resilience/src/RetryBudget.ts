// Retries in proportion to calls. A dependency that fails a part of its calls gets the rest of its load again as retries, which makes
// it fail more; a budget bounds that whatever the reason: some retries for each hundred calls, and a few a second besides, so that
// a quiet process may still retry. Pure; the clock is the caller's. (Patterns: "Handling Overload" in Beyer et al., "Site
// Reliability Engineering", O'Reilly 2016, which allows 10 % of a client's calls; and the RetryBudget of Twitter's Finagle, a token
// bucket with a floor per second.)
import { RetryBudget as Limits } from "./Limits.ts"

export interface RetryBudget {
  /** A call that is not a retry. */
  readonly called: (nowMs: number, count?: number) => void
  /** True, and one fewer is left: the retry may be sent now. */
  readonly take: (nowMs: number) => boolean
}

/** Full at first: a process that has just started may retry, too. */
export const makeRetryBudget = (startMs: number): RetryBudget => {
  let tokens: number = Limits.burst
  let filledAtMs = startMs
  const fill = (nowMs: number, calls: number) => {
    const floor = (Math.max(0, nowMs - filledAtMs) / 1000) * Limits.perSecond
    filledAtMs = Math.max(filledAtMs, nowMs)
    tokens = Math.min(Limits.burst, tokens + floor + calls * Limits.ratio)
  }
  return {
    called: (nowMs, count = 1) => fill(nowMs, count),
    take: (nowMs) => {
      fill(nowMs, 0)
      if (tokens < 1) return false
      tokens--
      return true
    }
  }
}
