// Health as one guard sees it. Down: the breaker is open, or has closed only just now. Degraded: it answers, and something failed in
// the last seconds, or nothing has been answered since. Up: neither. A change is told once, to health and in one log line, and
// none comes and goes with a single call: a failure among answers is ten seconds of degraded, and a dependency whose breaker
// closes and opens again stays down until it has held.
import { Clock, Duration, Effect } from "effect"
import type { FailureDomain } from "./FailureDomain.ts"
import { type DependencyState, Health } from "./Health.ts"
import { Breaker } from "./Limits.ts"

export interface HealthBoard {
  /** An answer would change nothing, and need not be told. */
  readonly isCalm: () => boolean
  readonly answered: Effect.Effect<void>
  readonly failed: (detail: string) => Effect.Effect<void>
  readonly opened: Effect.Effect<void>
  readonly closed: Effect.Effect<void>
}

const calmMs = Duration.toMillis(Breaker.windowAge)

/** Its timers end with the scope. `hold` is how long a breaker must stay closed. */
export const makeHealthBoard = Effect.fnUntraced(function* (dependency: FailureDomain, hold: Duration.Duration) {
  const say = yield* makeSay(dependency)
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const later = <A>(effect: Effect.Effect<A>) => Effect.forkIn(effect, scope, { startImmediately: true })
  let isOpen = false
  let closings = 0
  let lastFailure: string | null = null
  /** Since the breaker last closed; null for none. */
  let failedAtMs: number | null = null
  let isAnswered = true
  let isWaiting = false

  const calmInMs = () => (failedAtMs === null ? 0 : failedAtMs + calmMs - clock.currentTimeMillisUnsafe())
  const sayUpIfCalm = Effect.suspend(() =>
    say.known() === "degraded" && isAnswered && calmInMs() <= 0 ? say.say("up", null) : Effect.void
  )
  // Where calls are rare none would tell that all is well again.
  const calmDown = Effect.gen(function* () {
    isWaiting = true
    while (isAnswered && calmInMs() > 0) yield* Effect.sleep(Duration.millis(calmInMs()))
    isWaiting = false
    yield* sayUpIfCalm
  })
  const calmDownOnce = Effect.suspend(() =>
    say.known() === "degraded" && isAnswered && !isWaiting ? later(calmDown) : Effect.void
  )
  const hasHeld = Effect.fnUntraced(function* (closing: number) {
    yield* Effect.sleep(hold)
    if (isOpen || closing !== closings) return
    if (failedAtMs === null) return yield* say.say("up", null)
    yield* say.say("degraded", lastFailure)
    yield* calmDownOnce
  })

  return {
    isCalm: () => say.known() === "up" || isOpen,
    answered: Effect.suspend(() => {
      isAnswered = true
      return calmDownOnce
    }),
    failed: (detail) =>
      Effect.suspend(() => {
        lastFailure = detail
        isAnswered = false
        failedAtMs = clock.currentTimeMillisUnsafe()
        return say.known() === "up" ? say.say("degraded", detail) : Effect.void
      }),
    opened: Effect.suspend(() => {
      isOpen = true
      return say.say("down", lastFailure)
    }),
    closed: Effect.suspend(() => {
      isOpen = false
      failedAtMs = null
      isAnswered = true
      return later(hasHeld(++closings))
    })
  } satisfies HealthBoard
})

/** Only changes are told. */
const makeSay = Effect.fnUntraced(function* (dependency: FailureDomain) {
  const health = yield* Health
  const reporter = Symbol(dependency)
  let known: DependencyState = "up"
  yield* health.report(dependency, known, null, reporter)
  const say = (state: DependencyState, detail: string | null) =>
    Effect.suspend(() => {
      if (known === state) return Effect.void
      known = state
      const told = Effect.annotateLogs({ dependency, detail: detail ?? "" })
      const log =
        state === "down" ? Effect.logWarning(`${dependency} is down`) : Effect.logInfo(`${dependency} is ${state}`)
      return Effect.andThen(health.report(dependency, state, detail, reporter), told(log))
    })
  return { known: () => known, say }
})
