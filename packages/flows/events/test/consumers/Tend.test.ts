// When a view passes a gap: never before the same gap has been there for the whole deadline, whatever the clocks of others say.
import { expect, it } from "@effect/vitest"
import { Views } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import { GapWatch, tending } from "../../src/consumers/Tend.ts"

const deadlineMs = Duration.toMillis(Views.gapDeadline)
const log = { lastPosition: 9, hasUnpositioned: false }
const progress = (position: number, aheadFrom: number | null) => ({ position, aheadFrom, asOfMs: 0, movedAtMs: 0 })
const nanos = (ms: number) => BigInt(ms) * 1_000_000n

it("a gap that has just appeared is waited for, however long ago the view last moved", () => {
  const watch = new GapWatch()
  expect(watch.ageMs(progress(3, null), nanos(0))).toBe(0)
  const ageMs = watch.ageMs(progress(3, 5), nanos(10 * deadlineMs))
  expect(ageMs).toBe(0)
  expect(tending(progress(3, 5), log, ageMs, 10 * deadlineMs)).toBeNull()
})

it("a gap that stays is passed after the deadline", () => {
  const watch = new GapWatch()
  watch.ageMs(progress(3, 5), nanos(1_000))
  const ageMs = watch.ageMs(progress(3, 5), nanos(1_001 + deadlineMs))
  expect(tending(progress(3, 5), log, ageMs, 7)).toEqual({ applied: [], through: 4, nowMs: 7 })
})

it("another gap has its own time", () => {
  const watch = new GapWatch()
  watch.ageMs(progress(3, 5), nanos(0))
  expect(watch.ageMs(progress(5, 8), nanos(2 * deadlineMs))).toBe(0)
  expect(watch.ageMs(progress(5, null), nanos(3 * deadlineMs))).toBe(0)
  expect(watch.ageMs(progress(5, 8), nanos(4 * deadlineMs))).toBe(0)
})

it("what waits behind no gap at all is taken up at once", () => {
  expect(tending(progress(3, 4), log, 0, 7)).toEqual({ applied: [], nowMs: 7 })
})
