// Ticket numbers at hand, so that opening a ticket needs no round trip of its own. It is kept as small as the batches of this moment need,
// for what is at hand when a process ends is a gap for ever. The lowest goes first, and what nobody got comes back.
import { Commands } from "@holdfast/resilience/Limits"

export interface NumberStock {
  /** That many, ascending; none when there are too few. */
  take(count: number): ReadonlyArray<number> | null
  /** Numbers that are new, or that certainly nobody got. */
  put(numbers: ReadonlyArray<number>): void
  /** How many to fetch so that the next batches, and this many besides, are served. */
  missing(besides?: number): number
}

export const makeNumberStock = (): NumberStock => {
  let atHand: ReadonlyArray<number> = []
  let lastBatches = 1
  return {
    take: (count) => {
      if (atHand.length < count) return null
      // A burst is forgotten one batch at a time: the next of its size would otherwise pay for each lull.
      lastBatches = Math.max(count, lastBatches - 1, 1)
      const taken = atHand.slice(0, count)
      atHand = atHand.slice(count)
      return taken
    },
    put: (numbers) => {
      atHand = [...atHand, ...numbers].toSorted((left, right) => left - right)
    },
    missing: (besides = 0) => Math.max(0, lastBatches * Commands.batchesAtOnceMax + besides - atHand.length)
  }
}
