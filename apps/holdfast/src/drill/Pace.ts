// Sends at a fixed rate whatever becomes of it (open loop), each request due at its own moment, so that a slow answer delays no other and
// is not left out of what is measured. What is due while too many are under way is told as stuck.
import { DrillLoad } from "@holdfast/resilience/Limits"
import { Duration } from "effect"

export interface PaceOptions {
  readonly perSecond: number
  readonly nowMs: () => number
  /** Settles when it is answered or given up; never rejects. */
  readonly send: (dueMs: number) => Promise<void>
  readonly stuck: (dueMs: number) => void
}

export interface Pace {
  /** Sends no more. */
  stop(): void
  readonly underWay: number
  /** Everything that was sent is settled. */
  readonly settled: Promise<void>
}

export const underWayMaxOf = (perSecond: number): number => {
  const { underWayFor, underWayMax, underWayMin } = DrillLoad
  return Math.min(underWayMax, Math.max(underWayMin, Math.ceil(perSecond * Duration.toSeconds(underWayFor))))
}

export const startPace = ({ nowMs, perSecond, send, stuck }: PaceOptions): Pace => {
  const underWayMax = underWayMaxOf(perSecond)
  const settled = Promise.withResolvers<void>()
  let dueMs = nowMs()
  let underWay = 0
  let stopped = perSecond <= 0
  if (stopped) settled.resolve()
  const finish = () => {
    underWay--
    if (stopped && underWay === 0) settled.resolve()
  }
  const one = (due: number) => {
    if (underWay >= underWayMax) return stuck(due)
    underWay++
    send(due).finally(finish)
  }
  const turn = () => {
    if (stopped) return
    for (; dueMs <= nowMs(); dueMs += 1000 / perSecond) one(dueMs)
    timer = setTimeout(turn, Math.max(1, dueMs - nowMs()))
  }
  let timer = setTimeout(turn, 0)
  return {
    stop: () => {
      if (stopped) return
      stopped = true
      clearTimeout(timer)
      if (underWay === 0) settled.resolve()
    },
    get underWay() {
      return underWay
    },
    settled: settled.promise
  }
}
