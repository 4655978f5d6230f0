// What an outage costs of the availability that a desk promises: 99.98 % leaves 8.64 minutes in 30 days. Pure.
import type { Path } from "./Tally.ts"

export const budgetMinutes = 30 * 24 * 60 * 0.0002
export const budgetMinutesOfYear = 365 * 24 * 60 * 0.0002

/** How many outages that lose so many minutes each a year's budget pays for. */
export const affordable = (lostMinutes: number): number => Math.floor(budgetMinutesOfYear / lostMinutes)

export interface Cost {
  readonly path: Path
  /** Of the requests of the outage and its recovery, answered. 0 to 1. */
  readonly available: number
  readonly lostMinutes: number
  /** Of a month's budget: 1 is all of it. */
  readonly share: number
  readonly words: string
}

/** Requests come at a fixed rate, so the share of them that was not answered is the share of the time. */
export const costOf = (path: Path, sent: number, answered: number, minutes: number): Cost => {
  const available = sent === 0 ? 1 : answered / sent
  const lostMinutes = minutes * (1 - available)
  const share = lostMinutes / budgetMinutes
  return { path, available, lostMinutes, share, words: wordsFor(lostMinutes, share) }
}

const wordsFor = (lostMinutes: number, share: number): string => {
  if (lostMinutes === 0) return "cost nothing"
  if (share < 0.01) return "cost less than a hundredth of a month's budget"
  const percent = `${Math.round(share * 100)} % of a month's budget`
  return share <= 1
    ? `${lostMinutes.toFixed(2)} minutes, ${percent}`
    : `${lostMinutes.toFixed(2)} minutes, ${percent}: more than the month allows`
}
