// What a view needs besides its events: to say that it is current while nothing happens, and to pass a position that will not come because
// its event is parked. Current means that nothing committed is missing, with or without a position: a relay that has died makes
// nobody current. Both views do it the same way, every `Views.currentEvery`.
import { EventLog } from "@holdfast/database/EventLog"
import { Views } from "@holdfast/resilience/Limits"
import type { Advance, Progress } from "@holdfast/resilience/Progress"
import { Clock, Duration, Effect } from "effect"

/** Null: nothing to say. */
export const tending = (
  progress: Progress,
  log: { readonly lastPosition: number; readonly hasUnpositioned: boolean },
  nowMs: number
): Advance | null => {
  if (progress.position >= log.lastPosition)
    return log.hasUnpositioned ? null : { applied: [], currentAtMs: nowMs, nowMs }
  const stuck = nowMs - progress.movedAtMs > Duration.toMillis(Views.gapDeadline)
  return stuck && progress.aheadFrom !== null ? { applied: [], through: progress.aheadFrom - 1, nowMs } : null
}

export const adviceFor = Effect.fnUntraced(function* (progress: Progress) {
  const log = yield* EventLog
  // Asked in this order, an event that is given its position in between is seen at least once.
  const hasUnpositioned = yield* log.hasUnpositioned
  const lastPosition = yield* log.lastPosition
  return tending(progress, { lastPosition, hasUnpositioned }, yield* Clock.currentTimeMillis)
})
