// What a view needs besides its events: to say that it is current while nothing happens, and to pass a position that will not come because
// its event is parked. Current means that nothing committed is missing, with or without a position: a relay that has died makes
// nobody current. Both views do it the same way, every `Views.currentEvery`.
import { EventLog } from "@holdfast/database/EventLog"
import { Views } from "@holdfast/resilience/Limits"
import type { Advance, Progress } from "@holdfast/resilience/Progress"
import { Clock, Duration, Effect } from "effect"

/**
 * How long the same gap has been there, by this process's own steady clock: what is written of the time may be by another's, which may
 * be days off, and the time of the last move says nothing of a gap that appeared after an idle hour.
 */
export class GapWatch {
  #position = -1
  #sinceNanos = 0n

  ageMs({ aheadFrom, position }: Progress, nanos: bigint): number {
    if (aheadFrom === null) this.#position = -1
    else if (position !== this.#position) {
      this.#position = position
      this.#sinceNanos = nanos
    }
    return aheadFrom === null ? 0 : Number((nanos - this.#sinceNanos) / 1_000_000n)
  }
}

/** Null: nothing to say. */
export const tending = (
  progress: Progress,
  log: { readonly lastPosition: number; readonly hasUnpositioned: boolean },
  gapMs: number,
  nowMs: number
): Advance | null => {
  if (progress.position >= log.lastPosition)
    return log.hasUnpositioned ? null : { applied: [], currentAtMs: nowMs, nowMs }
  // More waited than one batch looks at, and no batch has come since.
  if (progress.aheadFrom === progress.position + 1) return { applied: [], nowMs }
  const isStuck = gapMs > Duration.toMillis(Views.gapDeadline)
  return isStuck && progress.aheadFrom !== null ? { applied: [], through: progress.aheadFrom - 1, nowMs } : null
}

export const adviceFor = Effect.fnUntraced(function* (progress: Progress, watch: GapWatch) {
  const log = yield* EventLog
  // Asked in this order, an event that is given its position in between is seen at least once.
  const hasUnpositioned = yield* log.hasUnpositioned
  const lastPosition = yield* log.lastPosition
  const gapMs = watch.ageMs(progress, yield* Clock.monotonicTimeNanos)
  return tending(progress, { lastPosition, hasUnpositioned }, gapMs, yield* Clock.currentTimeMillis)
})
