// How far a view has come in the log. Streams are handled in parallel, so events are applied out of order: `position` is the last one
// before which nothing is missing, and later ones wait until the gap before them is closed. A reader who was answered at `position`
// may resume a subscription from there without losing an event.

export interface Applied {
  readonly position: number
  readonly occurredAtMs: number
}

export interface Progress {
  /** Everything up to here is applied. */
  readonly position: number
  /** When the view was last known to be current. */
  readonly asOfMs: number
  /** When `position` last moved. */
  readonly movedAtMs: number
  /** The first position beyond the gap; null when there is no gap. */
  readonly aheadFrom: number | null
}

export interface Advance {
  readonly applied: ReadonlyArray<Applied>
  /** Everything up to here counts as applied: a snapshot was loaded, or a gap is passed over. */
  readonly through?: number
  /** By whose filling the snapshot came into an empty cache: a cache that has lost anything since then does not count it. */
  readonly filling?: string
  /** The view held all that there was at this moment. */
  readonly currentAtMs?: number
  readonly nowMs: number
}

export interface Reached {
  readonly position: number
  readonly asOfMs: number
}

export interface Advanced {
  /** Null: still empty. A view without a beginning stays so until a snapshot says where it begins. */
  readonly reached: Reached | null
  /** Applied beyond the gap, ascending. */
  readonly ahead: ReadonlyArray<Applied>
}

export const advance = (before: Advanced, change: Advance): Advanced => {
  const waiting = distinct([...before.ahead, ...change.applied])
  const { reached } = before
  if (reached === null && change.through === undefined) return { reached, ahead: waiting }
  let position = Math.max(reached?.position ?? 0, change.through ?? 0)
  let asOfMs = Math.max(reached?.asOfMs ?? 0, change.currentAtMs ?? 0)
  const ahead: Array<Applied> = []
  for (const one of waiting) {
    if (one.position === position + 1) {
      position = one.position
      asOfMs = Math.max(asOfMs, one.occurredAtMs)
    } else if (one.position > position) ahead.push(one)
  }
  return { reached: { position, asOfMs }, ahead }
}

const distinct = (all: ReadonlyArray<Applied>): ReadonlyArray<Applied> =>
  [...new Map(all.map((one) => [one.position, one])).values()].sort((a, b) => a.position - b.position)
