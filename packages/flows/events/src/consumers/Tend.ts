// What a view needs besides its events: to say that it is current while nothing happens, and to pass a position that will not come because
// its event is parked. Both views do it the same way, every `Views.currentEvery`.
import { EventLog } from "@holdfast/database/EventLog"
import { Views } from "@holdfast/resilience/Limits"
import type { Advance, Progress } from "@holdfast/resilience/Progress"
import { Clock, Duration, Effect } from "effect"

/** Null: nothing to say. */
export const tending = (progress: Progress, lastPosition: number, nowMs: number): Advance | null => {
  if (progress.position >= lastPosition) return { applied: [], currentAtMs: nowMs, nowMs }
  const stuck = nowMs - progress.movedAtMs > Duration.toMillis(Views.gapDeadline)
  return stuck && progress.aheadFrom !== null ? { applied: [], through: progress.aheadFrom - 1, nowMs } : null
}

export const adviceFor = Effect.fnUntraced(function* (progress: Progress) {
  const log = yield* EventLog
  const lastPosition = yield* log.lastPosition
  return tending(progress, lastPosition, yield* Clock.currentTimeMillis)
})
