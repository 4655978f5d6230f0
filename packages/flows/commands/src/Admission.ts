// Who gets in. A bounded number of commands is under way at once, beyond it the answer is an immediate refusal and never a longer
// queue; each principal has a budget per minute; one commandId is under way once. A place is held until the command is settled,
// not until its caller is gone, so what counts is work and not patience.
import { CommandInProgress, Overloaded, RateLimited } from "@holdfast/contracts/CommandErrors"
import type { CommandId } from "@holdfast/contracts/Ids"
import { isStaff, type Principal } from "@holdfast/contracts/Principal"
import { Commands } from "@holdfast/resilience/Limits"
import { Duration, Effect } from "effect"
import { RateLimiter } from "effect/persistence"

export interface Place {
  /** Once, when the command is settled. */
  readonly leave: () => void
}

export interface Admission {
  enter(principal: Principal, commandId: CommandId): Effect.Effect<Place, RateLimited | Overloaded | CommandInProgress>
}

export const makeAdmission = Effect.gen(function* () {
  const limiter = yield* RateLimiter.RateLimiter
  const underWay = new Set<string>()

  const place = (key: string): Place => {
    underWay.add(key)
    return { leave: () => underWay.delete(key) }
  }

  const enter: Admission["enter"] = (principal, commandId) =>
    Effect.andThen(
      withinBudget(limiter, principal),
      Effect.suspend((): Effect.Effect<Place, Overloaded | CommandInProgress> => {
        const key = `${principal.id} ${commandId}`
        if (underWay.has(key)) return Effect.fail(new CommandInProgress({ commandId, retryAfterMs }))
        if (underWay.size >= Commands.underWayMax) return Effect.fail(new Overloaded({ retryAfterMs }))
        return Effect.succeed(place(key))
      })
    )

  return { enter } satisfies Admission
})

const retryAfterMs = Duration.toMillis(Commands.overloadedRetryAfter)

const withinBudget = (limiter: RateLimiter.RateLimiter, principal: Principal): Effect.Effect<void, RateLimited> => {
  // The desk's own reactions pace themselves, and a backlog of them must drain; they are bounded like everybody by the places.
  if (principal.role === "service") return Effect.void
  return limiter
    .consume({ key: principal.id, limit: Commands.perPrincipalPerMinuteMax, window: Commands.perPrincipalWindow })
    .pipe(Effect.catch((error) => whenLimited(principal, error)))
}

/** When the limiter's own store is away, staff work on and customers wait. */
const whenLimited = (
  principal: Principal,
  { reason }: RateLimiter.RateLimiterError
): Effect.Effect<void, RateLimited> => {
  if (reason._tag === "RateLimitExceeded") {
    return Effect.fail(new RateLimited({ retryAfterMs: Math.ceil(Duration.toMillis(reason.retryAfter)) }))
  }
  return isStaff(principal) ? Effect.void : Effect.fail(new RateLimited({ retryAfterMs: storeAwayRetryAfterMs }))
}

const storeAwayRetryAfterMs = Duration.toMillis(Commands.awayRetryAfter)
