// How far a group has come while RabbitMQ hands out its events, kept in PostgreSQL: what RabbitMQ loses is published again from there.
// Each partition has its own order and so its own cursor. A cursor is a little late and never ahead.
import type { Position } from "@holdfast/contracts/Ids"
import { Position as positionOf } from "@holdfast/contracts/Ids"
import type { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { Broker as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Effect } from "effect"
import { ConsumerGroup } from "./Broker.ts"

type Cursors = ConsumerCursors["Service"]

export interface Handled {
  readonly delivered: (partition: number, position: Position) => void
  readonly acknowledged: (partition: number, position: Position) => void
  /** Writes down what has moved, for ever. What cannot be written now is written later. */
  readonly keep: Effect.Effect<never>
}

interface Share {
  readonly underWay: Set<Position>
  last: Position
  kept: Position
}

const cursorOf = (group: ConsumerGroup, partition: number): string => `${group}/${partition}`

/** Of one reading of a group's queues. */
export const makeHandled = (cursors: Cursors, group: ConsumerGroup): Handled => {
  const shares = new Map<number, Share>()
  const keepShare = ([partition, share]: [number, Share]) => {
    const reached = reachedBy(share)
    if (reached <= share.kept) return Effect.void
    return Effect.tap(cursors.advance(cursorOf(group, partition), reached), () =>
      Effect.sync(() => {
        share.kept = reached
      })
    )
  }
  const keepAll = Effect.suspend(() => Effect.forEach([...shares], keepShare, { discard: true }))
  return {
    delivered: (partition, position) => {
      const share = shares.get(partition) ?? { underWay: new Set(), last: position, kept: positionOf.make(0) }
      shares.set(partition, share)
      share.underWay.add(position)
      if (position > share.last) share.last = position
    },
    acknowledged: (partition, position) => shares.get(partition)?.underWay.delete(position),
    keep: Effect.forever(Effect.andThen(Effect.sleep(Limits.handledDelay), Effect.ignore(keepAll)))
  }
}

/** Bounded by the prefetch. */
const reachedBy = ({ last, underWay }: Share): Position =>
  underWay.size === 0 ? last : positionOf.make(Math.min(...underWay) - 1)

/** Every group has handled everything up to here. A group's own cursor counts too: it is where the embedded broker left it. */
export const handledByAll: (cursors: Cursors) => Effect.Effect<Position, Unavailable> = Effect.fnUntraced(
  function* (cursors) {
    let lowest = Number.MAX_SAFE_INTEGER
    for (const group of ConsumerGroup.literals) {
      const whole = yield* cursors.read(group)
      for (let partition = 0; partition < Limits.partitions; partition++) {
        lowest = Math.min(lowest, Math.max(whole, yield* cursors.read(cursorOf(group, partition))))
      }
    }
    return positionOf.make(lowest)
  }
)
