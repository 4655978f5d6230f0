// What each dependency is doing and since when. Guards report here; `/health/ready` and the status page read it. A dependency with
// several guards in one process, such as two folders on a disk, is as well as the worst of them says.
import { Clock, Context, DateTime, Effect, Layer } from "effect"
import type { FailureDomain } from "./FailureDomain.ts"

/**
 * up: it answers. degraded: it answers, and something failed within the last `Breaker.windowAge`, or nothing was answered since
 * something failed. down: a breaker is open, or has closed less than its longest rest ago.
 */
export type DependencyState = "up" | "degraded" | "down"

export interface DependencyHealth {
  readonly dependency: FailureDomain
  readonly state: DependencyState
  /** When this state began, UTC. */
  readonly since: DateTime.Utc
  /** Why, in one sentence without secrets; null while up. */
  readonly detail: string | null
}

export class Health extends Context.Service<
  Health,
  {
    /** Repeating the state keeps `since`. Whoever is one of several who know the dependency says who. */
    report(
      dependency: FailureDomain,
      state: DependencyState,
      detail: string | null,
      reporter?: symbol
    ): Effect.Effect<void>
    readonly all: Effect.Effect<ReadonlyArray<DependencyHealth>>
  }
>()("@holdfast/resilience/Health") {
  static readonly layer = Layer.sync(this, () => {
    const known = new Map<FailureDomain, Known>()
    return Health.of({
      report: Effect.fnUntraced(function* (dependency, state, detail, reporter = anybody) {
        const now = DateTime.makeUnsafe(yield* Clock.currentTimeMillis)
        const before = known.get(dependency)
        const reports = new Map(before?.reports).set(reporter, { state, detail })
        const worst = worstOf(reports) ?? { state, detail }
        const since = before?.told.state === worst.state ? before.told.since : DateTime.toUtc(now)
        known.set(dependency, { reports, told: { dependency, ...worst, since } })
      }),
      all: Effect.sync(() => [...known.values()].map(({ told }) => told))
    })
  })
}

const anybody = Symbol("anybody")

type Report = Pick<DependencyHealth, "state" | "detail">

interface Known {
  readonly reports: ReadonlyMap<symbol, Report>
  readonly told: DependencyHealth
}

const rank = { up: 0, degraded: 1, down: 2 } as const

const worstOf = (reports: ReadonlyMap<symbol, Report>): Report | undefined =>
  [...reports.values()].sort((a, b) => rank[b.state] - rank[a.state])[0]
