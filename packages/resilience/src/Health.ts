// What each dependency is doing and since when. Guards report here; `/health/ready` and the status page read it.
import { Clock, Context, DateTime, Effect, Layer, Ref } from "effect"
import type { FailureDomain } from "./FailureDomain.ts"

/** up: calls succeed. degraded: some calls fail, or the breaker is probing. down: the breaker is open. */
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
    /** Repeating the state keeps `since`. */
    report(dependency: FailureDomain, state: DependencyState, detail: string | null): Effect.Effect<void>
    readonly all: Effect.Effect<ReadonlyArray<DependencyHealth>>
  }
>()("@holdfast/resilience/Health") {
  static readonly layer = Layer.effect(
    this,
    Effect.map(Ref.make<ReadonlyMap<FailureDomain, DependencyHealth>>(new Map()), (known) =>
      Health.of({
        report: Effect.fnUntraced(function* (dependency, state, detail) {
          const now = DateTime.makeUnsafe(yield* Clock.currentTimeMillis)
          yield* Ref.update(known, (all) => {
            const before = all.get(dependency)
            const since = before?.state === state ? before.since : DateTime.toUtc(now)
            return new Map(all).set(dependency, { dependency, state, since, detail })
          })
        }),
        all: Effect.map(Ref.get(known), (all) => [...all.values()])
      })
    )
  )
}
