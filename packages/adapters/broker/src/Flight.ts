// Which events of the log are handed out and acknowledged, for one holder of one group. Positions have no gaps, so the
// cursor is simply the last position before the first one that is not acknowledged.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position } from "@holdfast/contracts/Ids"
import { Consumer as Limits } from "@holdfast/resilience/Limits"

export interface Flight {
  /** Everything up to here is acknowledged. */
  readonly cursor: () => Position
  /** The last one ever handed out. */
  readonly last: () => Position
  /** How many more may be handed out now: bounded in number, and in how far they run ahead of the cursor. */
  readonly room: () => number
  readonly handOut: (envelope: Envelope) => void
  /** True: there is room now and there was none before. */
  readonly acknowledge: (position: Position) => boolean
}

export const makeFlight = (start: Position): Flight => {
  let cursor = start
  let last = start
  const acknowledged = new Set<Position>()
  const unacknowledged = () => last - cursor - acknowledged.size
  const pass = () => {
    for (let next = Position.make(cursor + 1); acknowledged.delete(next); next = Position.make(next + 1)) cursor = next
  }
  const room = () => Math.min(Limits.prefetchEventsMax - unacknowledged(), Limits.aheadEventsMax - (last - cursor))
  return {
    cursor: () => cursor,
    last: () => last,
    room,
    handOut: (envelope) => {
      if (envelope.position > last) last = envelope.position
    },
    acknowledge: (position) => {
      if (position <= cursor) return false
      const wasFull = room() <= 0
      acknowledged.add(position)
      pass()
      return wasFull && room() > 0
    }
  }
}
