// Times in a fixed amount of memory, however many there are: counted in buckets that grow by 2 %, so every percentile is right to within
// 2 % and the slowest is exact.

const growth = 1.02
const leastMs = 0.01
const buckets = 900

export interface Histogram {
  record(ms: number): void
  readonly count: number
  readonly maxMs: number
  /** The nearest rank; NaN when nothing was recorded. */
  percentile(share: number): number
  /** Counts what another one has counted too. */
  include(other: Histogram): void
  readonly counts: Uint32Array
}

export const makeHistogram = (): Histogram => {
  const counts = new Uint32Array(buckets)
  let count = 0
  let maxMs = 0
  const percentile = (share: number): number => {
    if (count === 0) return Number.NaN
    const rank = Math.max(1, Math.ceil(count * share))
    if (rank === count) return maxMs
    let seen = 0
    for (const [index, inBucket] of counts.entries()) {
      seen += inBucket
      if (seen >= rank) return Math.min(maxMs, leastMs * growth ** (index + 1))
    }
    return maxMs
  }
  return {
    record: (ms) => {
      const index = Math.floor(Math.log(Math.max(ms, leastMs) / leastMs) / Math.log(growth))
      const place = Math.min(buckets - 1, index)
      counts[place] = (counts[place] ?? 0) + 1
      count++
      maxMs = Math.max(maxMs, ms)
    },
    get count() {
      return count
    },
    get maxMs() {
      return count === 0 ? Number.NaN : maxMs
    },
    percentile,
    include: (other) => {
      for (const [index, inBucket] of other.counts.entries()) counts[index] = (counts[index] ?? 0) + inBucket
      count += other.count
      if (other.count > 0) maxMs = Math.max(maxMs, other.maxMs)
    },
    counts
  }
}
