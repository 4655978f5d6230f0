// What a guard promises to its callers and to its dependency, on the test clock.
import { describe, expect, it } from "@effect/vitest"
import { Data, Deferred, Duration, Effect, Exit, Fiber, Ref, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { type GuardOptions, makeGuard } from "../src/Guard.ts"
import { Health } from "../src/Health.ts"
import { Breaker } from "../src/Limits.ts"
import { Unavailable } from "../src/Unavailable.ts"

class Broken extends Data.TaggedError("Broken")<{ readonly detail: string }> {}
class Refused extends Data.TaggedError("Refused")<{ readonly detail: string }> {}

const broken = Effect.fail(new Broken({ detail: "connection refused" }))
const refused = Effect.fail(new Refused({ detail: "no such row" }))
const times = (count: number) => Array.from({ length: count })

/** A guard whose dependency answers probes as `alive` says, and that counts what reached the dependency. */
const setUp = Effect.fnUntraced(function* (options: Partial<GuardOptions> = {}) {
  const alive = yield* Ref.make(true)
  const probes = yield* Ref.make(0)
  const sent = yield* Ref.make(0)
  const guard = yield* makeGuard({
    dependency: "database",
    deadline: Duration.millis(100),
    concurrencyMax: 4,
    acquireDeadline: Duration.millis(20),
    probe: Ref.update(probes, (count) => count + 1).pipe(
      Effect.andThen(Ref.get(alive)),
      Effect.flatMap((up) => (up ? Effect.void : broken))
    ),
    toFailure: (error) => (error instanceof Broken ? { reason: "unreachable", detail: error.detail } : null),
    ...options
  })
  const call = <A, E>(self: Effect.Effect<A, E>) =>
    guard.call(
      Effect.andThen(
        Ref.update(sent, (count) => count + 1),
        self
      )
    )
  const reasonOf = <A, E>(self: Effect.Effect<A, E>) =>
    Effect.map(Effect.flip(call(self)), (error) => (error instanceof Unavailable ? error.reason : error))
  const timeOut = Effect.gen(function* () {
    const hung = yield* Effect.forkChild(reasonOf(Effect.never), { startImmediately: true })
    yield* TestClock.adjust("100 millis")
    return yield* Fiber.join(hung)
  })
  const health = Effect.map(
    Health.use((known) => known.all),
    (all) => all[0]?.state
  )
  return { alive, call, guard, health, probes, reasonOf, sent, timeOut }
})

const guarded = (name: string, body: () => Effect.Effect<void, unknown, Health | Scope.Scope>) =>
  it.effect(name, () => Effect.provide(body(), Health.layer))

describe("an open breaker", () => {
  guarded("opens on three timeouts in a row and then sends nothing", () =>
    Effect.gen(function* () {
      const { alive, health, reasonOf, sent, timeOut } = yield* setUp()
      yield* Ref.set(alive, false)
      for (const _ of times(3)) expect(yield* timeOut).toBe("timeout")
      expect(yield* reasonOf(Effect.void)).toBe("breaker_open")
      expect(yield* Ref.get(sent)).toBe(3)
      expect(yield* health).toBe("down")
    })
  )

  it.effect("says down once and up once, however many probes fail in between", () =>
    Effect.gen(function* () {
      const said: Array<string> = []
      const noting = Health.of({
        report: (_dependency, state) => Effect.sync(() => void said.push(state)),
        all: Effect.succeed([])
      })
      yield* Effect.gen(function* () {
        const { alive, call, probes, timeOut } = yield* setUp()
        yield* Ref.set(alive, false)
        for (const _ of times(3)) yield* timeOut
        for (const _ of times(12)) yield* TestClock.adjust("5 seconds")
        expect(yield* Ref.get(probes)).toBeGreaterThan(5)
        yield* Ref.set(alive, true)
        for (const _ of times(3)) yield* TestClock.adjust("7 seconds")
        yield* call(Effect.void)
      }).pipe(Effect.provideService(Health, noting))
      expect(said).toEqual(["up", "degraded", "down", "up"])
    }).pipe(Effect.scoped)
  )

  guarded("opens on three connections in a row that were not answered in time", () =>
    Effect.gen(function* () {
      const { alive, reasonOf } = yield* setUp({
        toFailure: () => ({ reason: "connect_timeout", detail: "connecting was not answered in time" })
      })
      yield* Ref.set(alive, false)
      for (const _ of times(3)) expect(yield* reasonOf(broken)).toBe("connect_timeout")
      expect(yield* reasonOf(Effect.void)).toBe("breaker_open")
    })
  )

  guarded("does not open on timeouts with answers between them", () =>
    Effect.gen(function* () {
      const { call, timeOut } = yield* setUp()
      for (const _ of times(6)) {
        yield* timeOut
        yield* call(Effect.void)
        yield* call(Effect.void)
      }
      yield* call(Effect.void)
    })
  )

  guarded("opens when half of the calls fail, but not before five calls", () =>
    Effect.gen(function* () {
      const { call, reasonOf } = yield* setUp()
      yield* call(Effect.void)
      yield* call(Effect.void)
      for (const _ of times(2)) expect(yield* reasonOf(broken)).toBe("unreachable")
      expect(yield* reasonOf(broken)).toBe("unreachable")
      expect(yield* reasonOf(Effect.void)).toBe("breaker_open")
    })
  )

  guarded("never opens on refusals, which pass through as they are", () =>
    Effect.gen(function* () {
      const { health, reasonOf } = yield* setUp()
      for (const _ of times(50)) expect(yield* reasonOf(refused)).toBeInstanceOf(Refused)
      expect(yield* health).toBe("up")
    })
  )

  guarded("never opens on defects of the caller's own code", () =>
    Effect.gen(function* () {
      const { call } = yield* setUp()
      for (const _ of times(30)) yield* Effect.exit(call(Effect.die(new Error("a mistake"))))
      yield* call(Effect.void)
    })
  )

  guarded("tells callers to come back after its own probe, and not all at once", () =>
    Effect.gen(function* () {
      const { call, timeOut } = yield* setUp()
      for (const _ of times(3)) yield* timeOut
      const told = yield* Effect.forEach(times(20), () =>
        Effect.map(Effect.flip(call(Effect.void)), (e) => e.retryAfterMs)
      )
      const restMs = Duration.toMillis(Breaker.restNear.min)
      expect(Math.min(...told)).toBeGreaterThanOrEqual(restMs)
      expect(Math.max(...told)).toBeLessThanOrEqual(3 * restMs)
      expect(new Set(told).size).toBeGreaterThan(10)
    })
  )
})

describe("healing", () => {
  guarded("holds one knock open for as long as nobody answers, and probes when somebody does", () =>
    Effect.gen(function* () {
      const knocks = yield* Ref.make(0)
      const answer = yield* Deferred.make<void>()
      const ask = Effect.andThen(
        Ref.update(knocks, (count) => count + 1),
        Deferred.await(answer)
      )
      const { call, probes, timeOut } = yield* setUp({ knock: { ask, deadline: Duration.seconds(15) } })
      for (const _ of times(3)) yield* timeOut
      yield* TestClock.adjust("14 seconds")
      expect([yield* Ref.get(knocks), yield* Ref.get(probes)]).toEqual([1, 0])
      yield* TestClock.adjust("5 seconds")
      expect([yield* Ref.get(knocks), yield* Ref.get(probes)]).toEqual([2, 0])
      yield* Deferred.succeed(answer, undefined)
      yield* TestClock.adjust("1 millis")
      expect(yield* Ref.get(probes)).toBe(1)
      yield* call(Effect.void)
    })
  )

  guarded("heals by itself, without any user's call", () =>
    Effect.gen(function* () {
      const { alive, call, health, sent, timeOut } = yield* setUp()
      yield* Ref.set(alive, false)
      for (const _ of times(3)) yield* timeOut
      yield* TestClock.adjust("30 seconds")
      expect(yield* health).toBe("down")
      yield* Ref.set(alive, true)
      yield* TestClock.adjust("7 seconds")
      expect(yield* health).toBe("up")
      expect(yield* Ref.get(sent)).toBe(3)
      yield* call(Effect.void)
    })
  )

  guarded("never makes a user's call the probe", () =>
    Effect.gen(function* () {
      const { alive, probes, reasonOf, sent, timeOut } = yield* setUp()
      yield* Ref.set(alive, false)
      for (const _ of times(3)) yield* timeOut
      for (const _ of times(600)) {
        yield* TestClock.adjust("100 millis")
        expect(yield* reasonOf(Effect.void)).toBe("breaker_open")
      }
      expect(yield* Ref.get(sent)).toBe(3)
      expect(yield* Ref.get(probes)).toBeGreaterThan(8)
    })
  )

  guarded("does not let a call through that waited for its turn while the breaker opened", () =>
    Effect.gen(function* () {
      const { alive, reasonOf, sent, timeOut } = yield* setUp({
        concurrencyMax: 1,
        acquireDeadline: Duration.minutes(1)
      })
      yield* Ref.set(alive, false)
      for (const _ of times(2)) yield* timeOut
      const lastStraw = yield* Effect.forkChild(reasonOf(Effect.never), { startImmediately: true })
      const waiting = yield* Effect.forkChild(reasonOf(Effect.void), { startImmediately: true })
      yield* TestClock.adjust("100 millis")
      expect(yield* Fiber.join(lastStraw)).toBe("timeout")
      expect(yield* Fiber.join(waiting)).toBe("breaker_open")
      expect(yield* Ref.get(sent)).toBe(3)
    })
  )

  guarded("rests longer each time, up to a bound: it never hammers what is down", () =>
    Effect.gen(function* () {
      const { alive, probes, timeOut } = yield* setUp({ rest: Breaker.restFar })
      yield* Ref.set(alive, false)
      for (const _ of times(3)) yield* timeOut
      const within = Effect.fnUntraced(function* (seconds: number) {
        const before = yield* Ref.get(probes)
        yield* TestClock.adjust(Duration.seconds(seconds))
        return (yield* Ref.get(probes)) - before
      })
      // After 1, 2 and 4 s or half of that, then every 2.5 to 5.
      const first = yield* within(7)
      expect(first).toBeGreaterThanOrEqual(3)
      expect(first).toBeLessThanOrEqual(4)
      const later = yield* within(60)
      expect(later).toBeGreaterThanOrEqual(12)
      expect(later).toBeLessThanOrEqual(24)
    })
  )

  guarded("of one circuit leaves the other as it is: failures that are no timeouts do not end a row of them", () =>
    Effect.gen(function* () {
      const { call, reasonOf, timeOut } = yield* setUp()
      for (const _ of times(8)) yield* call(Effect.void)
      for (const _ of times(2)) expect(yield* timeOut).toBe("timeout")
      expect(yield* reasonOf(broken)).toBe("unreachable")
      expect(yield* timeOut).toBe("timeout")
      expect(yield* reasonOf(Effect.void)).toBe("breaker_open")
    })
  )

  guarded("goes on probing though the probe itself is broken", () =>
    Effect.gen(function* () {
      const fixed = yield* Ref.make(false)
      const probe = Effect.flatMap(Ref.get(fixed), (is) => (is ? Effect.void : Effect.die(new Error("a bug"))))
      const { health, timeOut } = yield* setUp({ probe })
      for (const _ of times(3)) yield* timeOut
      yield* TestClock.adjust("20 seconds")
      expect(yield* health).toBe("down")
      yield* Ref.set(fixed, true)
      yield* TestClock.adjust("7 seconds")
      expect(yield* health).toBe("up")
    })
  )
})

describe("bounds", () => {
  guarded("refuses as saturated when every permit is taken for too long, which is no failure of the dependency", () =>
    Effect.gen(function* () {
      const { call, reasonOf } = yield* setUp()
      const release = yield* Deferred.make<void>()
      const busy = yield* Effect.forkChild(
        Effect.all(
          times(4).map(() => call(Deferred.await(release))),
          { concurrency: "unbounded" }
        ),
        { startImmediately: true }
      )
      const extra = yield* Effect.forkChild(
        Effect.all(
          times(30).map(() => reasonOf(Effect.void)),
          { concurrency: "unbounded" }
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust("20 millis")
      expect(new Set(yield* Fiber.join(extra))).toEqual(new Set(["saturated"]))
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(busy)
      yield* call(Effect.void)
    })
  )

  guarded("gives every permit back, however the call ended", () =>
    Effect.gen(function* () {
      const { call } = yield* setUp({ concurrencyMax: 1 })
      yield* Effect.exit(call(refused))
      yield* Effect.exit(call(Effect.die(new Error("a mistake"))))
      const hung = yield* Effect.forkChild(call(Effect.never), { startImmediately: true })
      const waiting = yield* Effect.forkChild(call(Effect.void), { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(hung)
      expect(Exit.isSuccess(yield* Effect.exit(call(Effect.void)))).toBe(true)
    })
  )

  guarded("answers at the deadline of the call, where it has one of its own", () =>
    Effect.gen(function* () {
      const { guard } = yield* setUp()
      const slow = yield* Effect.forkChild(guard.call(Effect.sleep("1 second"), { deadline: Duration.seconds(2) }))
      yield* TestClock.adjust("1 second")
      expect(Exit.isSuccess(yield* Fiber.await(slow))).toBe(true)
    })
  )
})

describe("health", () => {
  guarded("is degraded after a failure, and up again once it has answered and ten seconds went well", () =>
    Effect.gen(function* () {
      const { call, health, reasonOf } = yield* setUp()
      expect(yield* health).toBe("up")
      yield* reasonOf(broken)
      expect(yield* health).toBe("degraded")
      yield* call(Effect.void)
      expect(yield* health).toBe("degraded")
      yield* TestClock.adjust("9 seconds")
      expect(yield* health).toBe("degraded")
      yield* TestClock.adjust("1 second")
      expect(yield* health).toBe("up")
    })
  )

  guarded("stays degraded for as long as nothing was answered", () =>
    Effect.gen(function* () {
      const { call, health, reasonOf } = yield* setUp()
      yield* reasonOf(broken)
      yield* TestClock.adjust("1 hour")
      expect(yield* health).toBe("degraded")
      yield* call(Effect.void)
      expect(yield* health).toBe("up")
    })
  )

  guarded("stays down while a breaker that closes opens again at once: probes are answered and calls are not", () =>
    Effect.gen(function* () {
      const { health, probes, reasonOf } = yield* setUp()
      for (const _ of times(5)) yield* reasonOf(broken)
      for (const _ of times(100)) {
        yield* TestClock.adjust("100 millis")
        for (const _ of times(5)) yield* reasonOf(broken)
        expect(yield* health).toBe("down")
      }
      expect(yield* Ref.get(probes)).toBeGreaterThan(10)
    })
  )

  guarded("of a dependency with two guards is the worse of what they see, since it became so", () =>
    Effect.gen(function* () {
      const [first, second] = [yield* setUp(), yield* setUp()]
      yield* Ref.set(first.alive, false)
      for (const _ of times(5)) yield* first.reasonOf(broken)
      expect(yield* first.health).toBe("down")
      yield* second.reasonOf(broken)
      yield* second.call(Effect.void)
      yield* TestClock.adjust("1 minute")
      expect(yield* first.health).toBe("down")
      yield* Ref.set(first.alive, true)
      yield* TestClock.adjust("5 seconds")
      expect(yield* first.health).toBe("up")
    })
  )

  guarded("stays down though a call that was sent before the opening succeeds", () =>
    Effect.gen(function* () {
      const { alive, guard, health, timeOut } = yield* setUp()
      yield* Ref.set(alive, false)
      const release = yield* Deferred.make<void>()
      const early = yield* Effect.forkChild(guard.call(Deferred.await(release), { deadline: Duration.minutes(1) }), {
        startImmediately: true
      })
      for (const _ of times(3)) yield* timeOut
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(early)
      expect(yield* health).toBe("down")
    })
  )
})

describe("a watched dependency", () => {
  const watch = { quietMax: Duration.seconds(1) }

  guarded("is asked when nothing was heard for a while, so that an idle process notices", () =>
    Effect.gen(function* () {
      const { alive, health, probes, sent } = yield* setUp({ watch })
      yield* TestClock.adjust("10 seconds")
      expect(yield* Ref.get(probes)).toBe(10)
      expect(yield* health).toBe("up")
      yield* Ref.set(alive, false)
      yield* TestClock.adjust("1 second")
      expect(yield* health).toBe("degraded")
      // Until half of what was heard in ten seconds is bad.
      yield* TestClock.adjust("5 seconds")
      expect(yield* health).toBe("down")
      yield* Ref.set(alive, true)
      yield* TestClock.adjust("2 seconds")
      expect(yield* health).toBe("up")
      expect(yield* Ref.get(sent)).toBe(0)
    })
  )

  guarded("is not asked while calls are answered", () =>
    Effect.gen(function* () {
      const { call, probes } = yield* setUp({ watch })
      for (const _ of times(100)) {
        yield* call(Effect.void)
        yield* TestClock.adjust("900 millis")
      }
      expect(yield* Ref.get(probes)).toBe(0)
    })
  )

  guarded("tells its adapter each time that it does not answer", () =>
    Effect.gen(function* () {
      const silences: Array<string> = []
      const onSilence = ({ reason }: Unavailable) => Effect.sync(() => void silences.push(reason))
      const { health } = yield* setUp({ probe: Effect.never, watch: { ...watch, onSilence } })
      yield* TestClock.adjust("1100 millis")
      expect(silences).toEqual(["timeout"])
      yield* TestClock.adjust("1 minute")
      expect(silences).toEqual(["timeout", "timeout", "timeout"])
      expect(yield* health).toBe("down")
    })
  )
})

describe("old failures", () => {
  guarded("of an hour ago do not count against a call of now", () =>
    Effect.gen(function* () {
      const { call, reasonOf } = yield* setUp()
      for (const _ of times(4)) yield* reasonOf(broken)
      yield* TestClock.adjust("1 hour")
      yield* call(Effect.void)
      for (const _ of times(3)) expect(yield* reasonOf(broken)).toBe("unreachable")
      yield* call(Effect.void)
    })
  )

  guarded("are three timeouts in a row however long each takes, but not with an hour between them", () =>
    Effect.gen(function* () {
      const { reasonOf } = yield* setUp({ deadline: Duration.seconds(30) })
      const slowTimeOut = Effect.gen(function* () {
        const hung = yield* Effect.forkChild(reasonOf(Effect.never), { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        return yield* Fiber.join(hung)
      })
      for (const _ of times(4)) {
        expect(yield* slowTimeOut).toBe("timeout")
        yield* TestClock.adjust("1 hour")
      }
      for (const _ of times(3)) yield* slowTimeOut
      expect(yield* reasonOf(Effect.void)).toBe("breaker_open")
    })
  )
})
