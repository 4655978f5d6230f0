// Many processes lose the same server and get it back while everybody waits: until it is back it sees one probe at a time from each,
// and no caller; then it sees no more calls at once than the bulkheads let through, and everybody is served.
import { expect, it } from "@effect/vitest"
import { Data, Duration, Effect, Fiber, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { makeGuard } from "../src/Guard.ts"
import { Health } from "../src/Health.ts"
import { Breaker } from "../src/Limits.ts"

class Broken extends Data.TaggedError("Broken") {}

const processes = 16
const callersEach = 10
const concurrencyMax = 4

/** A server that all of them share, and what it has seen. */
const makeServer = () => {
  const seen = { probesUnderWayMax: 0, callsUnderWayMax: 0, probes: 0, callsWhileDown: 0, served: 0 }
  let isUp = true
  let probing = 0
  let calling = 0
  const answer = Effect.suspend(() => (isUp ? Effect.sleep("5 millis") : Effect.fail(new Broken())))
  const probe = Effect.suspend(() => {
    seen.probes++
    seen.probesUnderWayMax = Math.max(seen.probesUnderWayMax, ++probing)
    return answer
  }).pipe(Effect.ensuring(Effect.sync(() => void probing--)))
  const call = Effect.suspend(() => {
    if (!isUp) seen.callsWhileDown++
    seen.callsUnderWayMax = Math.max(seen.callsUnderWayMax, ++calling)
    return answer
  }).pipe(
    Effect.tap(() => Effect.sync(() => void seen.served++)),
    Effect.ensuring(Effect.sync(() => void calling--))
  )
  return {
    seen,
    call,
    probe,
    set: (up: boolean) => {
      isUp = up
    }
  }
}

it.effect("a server that comes back is not stampeded by those who waited for it", () =>
  Effect.gen(function* () {
    const server = makeServer()
    const guards = yield* Effect.forEach(Array.from({ length: processes }), () =>
      makeGuard({
        dependency: "database",
        deadline: Duration.seconds(1),
        concurrencyMax,
        acquireDeadline: Duration.seconds(1),
        probe: server.probe,
        toFailure: (error) => (error instanceof Broken ? { reason: "unreachable", detail: "gone" } : null)
      })
    )
    server.set(false)
    // Each comes again after a second until it is served.
    const callers = (yield* Effect.forEach(guards, ({ call }) =>
      Effect.forEach(Array.from({ length: callersEach }), () =>
        Effect.forkScoped(Effect.retry(call(server.call), Schedule.spaced("1 second")))
      )
    )).flat()
    yield* TestClock.adjust("1 second")
    // What opened the breakers.
    expect(server.seen.callsWhileDown).toBeLessThanOrEqual(processes * (Breaker.minimumCalls + concurrencyMax))
    const tripped = server.seen.callsWhileDown
    yield* TestClock.adjust("20 seconds")
    expect(server.seen.callsWhileDown).toBe(tripped)
    const restMsMin = Duration.toMillis(Breaker.restNear.max) / 2
    expect(server.seen.probes).toBeLessThanOrEqual(processes * (2 + 21_000 / restMsMin))
    expect(server.seen.probesUnderWayMax).toBeLessThanOrEqual(processes)
    server.set(true)
    yield* TestClock.adjust("5 seconds")
    yield* Effect.forEach(callers, Fiber.join)
    expect(server.seen.served).toBe(processes * callersEach)
    expect(server.seen.callsUnderWayMax).toBeLessThanOrEqual(processes * concurrencyMax)
  }).pipe(Effect.provide(Health.layer))
)
