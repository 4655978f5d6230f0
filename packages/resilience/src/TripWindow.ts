// When a dependency has failed too much: half of the last calls, or timeouts in a row. Both look back a bounded time, so that what
// went wrong an hour ago is not held against one call now, and a bounded number of calls, so that a busy process notices after
// a few calls and not after seconds. Only a failure trips: an answer never does. Pure; the clock is the caller's.
import { Duration } from "effect"
import { Breaker } from "./Limits.ts"

export interface TripWindow {
  readonly answered: (nowMs: number) => void
  /** True: too much. `timedOutAfterMs` is how long a timeout was waited for; null for any other failure. */
  readonly failed: (nowMs: number, timedOutAfterMs: number | null) => boolean
  readonly forget: () => void
}

interface Call {
  readonly atMs: number
  readonly failed: boolean
}

const ageMsMax = Duration.toMillis(Breaker.windowAge)

export const makeTripWindow = (): TripWindow => {
  let calls: Array<Call> = []
  let timeoutsInARow = 0
  let lastTimeoutMs = Number.NEGATIVE_INFINITY

  const remember = (call: Call) => {
    calls.push(call)
    if (calls.length > Breaker.windowCalls) calls.shift()
  }
  // In a row and close to each other: a slow call began long before it timed out, so the time between the two does not count it.
  const countTimeout = (nowMs: number, timedOutAfterMs: number) => {
    if (nowMs - timedOutAfterMs - lastTimeoutMs > ageMsMax) timeoutsInARow = 0
    timeoutsInARow++
    lastTimeoutMs = nowMs
  }
  const tooMany = () => calls.filter(({ failed }) => failed).length >= calls.length * Breaker.failureRatio

  return {
    answered: (nowMs) => {
      timeoutsInARow = 0
      remember({ atMs: nowMs, failed: false })
    },
    failed: (nowMs, timedOutAfterMs) => {
      calls = calls.filter(({ atMs }) => nowMs - atMs <= ageMsMax)
      remember({ atMs: nowMs, failed: true })
      if (timedOutAfterMs !== null) countTimeout(nowMs, timedOutAfterMs)
      const isRow = timedOutAfterMs !== null && timeoutsInARow >= Breaker.consecutiveTimeouts
      return isRow || (calls.length >= Breaker.minimumCalls && tooMany())
    },
    forget: () => {
      calls = []
      timeoutsInARow = 0
    }
  }
}
