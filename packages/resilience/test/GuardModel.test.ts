// The guard against a model that fits in one's head, with time: after any run of calls, outages and waits the guard lets through
// exactly the calls that the model lets through, probes exactly when it may and one at a time, rests as long as it should, and
// health says what the model says and since when. Late outcomes of calls from before an outage are part of it.
import { expect, it } from "@effect/vitest"
import { Clock, Data, DateTime, Duration, Effect, Exit, Ref, Schema } from "effect"
import { TestClock } from "effect/testing"
import { makeGuard } from "../src/Guard.ts"
import { type DependencyState, Health } from "../src/Health.ts"
import { Breaker } from "../src/Limits.ts"
import { Unavailable } from "../src/Unavailable.ts"

class Broken extends Data.TaggedError("Broken") {}

const deadlineMs = 100
const lateMs = 3000
const holdMs = Duration.toMillis(Breaker.restNear.max)
const calmMs = Duration.toMillis(Breaker.windowAge)

const CallStep = Schema.Literals(["answered", "refused", "unreachable", "timeout", "defect", "late"])
type CallStep = typeof CallStep.Type

const Step = Schema.Union([
  CallStep,
  Schema.Literals(["lives", "dies", "hangs"]),
  Schema.Literals([7, 90, 400, 1700, 6100, 12_300])
])
type Step = typeof Step.Type

type Mode = "lives" | "dies" | "hangs"

interface Probe {
  readonly startMs: number
  readonly mode: Mode
}

type Outcome = "answer" | "unreachable" | "timeout"

interface Told {
  readonly atMs: number
  readonly outcome: Outcome
  readonly tookMs: number
}

/** What should be. `probesSeen` are the only facts that it takes from the guard, for their times are chosen by chance. */
class Model {
  isOpen = false
  health: DependencyState = "up"
  sinceMs: number
  #told: Array<Told> = []
  #epoch = 0
  #openings = 0
  #restFromMs = 0
  #openForMs = 0
  #resetAtMs = 0
  #closedAtMs: number | null = null
  #failedAtMs: number | null = null
  #isAnswered = true
  #late: Array<{ readonly atMs: number; readonly epoch: number }> = []
  #probesSeen = 0

  constructor(startMs: number) {
    this.sinceMs = startMs
  }

  /** Whether the call is let through. */
  admits(nowMs: number): boolean {
    if (!this.isOpen && nowMs >= this.#resetAtMs) this.#openings = 0
    return !this.isOpen
  }

  beginLate(nowMs: number) {
    this.#late.push({ atMs: nowMs + lateMs, epoch: this.#epoch })
  }

  tell(told: Told) {
    const { atMs, outcome } = told
    this.#told.push(told)
    if (outcome === "answer") this.#answer(atMs)
    else this.#fail(atMs)
    if (!this.isOpen && outcome !== "answer" && this.#isTooMuch(told)) this.#open(atMs)
  }

  /** Everything that happens by itself until then, in order. */
  advanceTo(nowMs: number, probes: ReadonlyArray<Probe>) {
    for (;;) {
      const next = this.#nextEvent(probes)
      if (next === null || next.atMs > nowMs) return
      next.happen()
    }
  }

  #nextEvent(probes: ReadonlyArray<Probe>) {
    const events: Array<{ readonly atMs: number; readonly happen: () => void }> = []
    const [late] = this.#late
    if (late !== undefined) events.push({ atMs: late.atMs, happen: () => this.#endLate() })
    const probe = probes[this.#probesSeen]
    if (probe !== undefined) {
      const endMs = probe.startMs + (probe.mode === "hangs" ? deadlineMs : 0)
      events.push({ atMs: endMs, happen: () => this.#endProbe(probe, endMs) })
    }
    const heldAtMs = this.#closedAtMs === null ? null : this.#closedAtMs + holdMs
    if (heldAtMs !== null) events.push({ atMs: heldAtMs, happen: () => this.#hold(heldAtMs) })
    const calmAtMs = this.#failedAtMs === null ? 0 : this.#failedAtMs + calmMs
    if (this.health === "degraded" && this.#isAnswered) {
      events.push({ atMs: calmAtMs, happen: () => this.#say("up", Math.max(calmAtMs, this.sinceMs)) })
    }
    return events.sort((a, b) => a.atMs - b.atMs)[0] ?? null
  }

  #endLate() {
    const late = this.#late.shift()
    if (late?.epoch === this.#epoch) this.tell({ atMs: late.atMs, outcome: "timeout", tookMs: lateMs })
  }

  #endProbe({ mode, startMs }: Probe, endMs: number) {
    this.#probesSeen++
    const fullMs = Math.min(holdMs, Duration.toMillis(Breaker.restNear.min) * 2 ** (this.#openings - 1))
    this.#openForMs = startMs - this.#restFromMs
    expect(this.isOpen).toBe(true)
    expect(this.#openForMs).toBeGreaterThanOrEqual(fullMs / 2)
    // A sleep ends on a whole millisecond.
    expect(this.#openForMs).toBeLessThanOrEqual(fullMs + 1)
    if (mode === "lives") return this.#close(endMs)
    this.#openings++
    this.#restFromMs = endMs
  }

  #isTooMuch({ atMs, outcome }: Told): boolean {
    const recent = this.#told.slice(-Breaker.windowCalls).filter((told) => atMs - told.atMs <= calmMs)
    const failures = recent.filter((told) => told.outcome !== "answer").length
    const tooMany = recent.length >= Breaker.minimumCalls && failures >= recent.length * Breaker.failureRatio
    return tooMany || (outcome === "timeout" && this.#timeoutsInARow() >= Breaker.consecutiveTimeouts)
  }

  #timeoutsInARow(): number {
    let count = 0
    let later: Told | null = null
    for (const told of this.#told.toReversed()) {
      if (told.outcome === "unreachable") continue
      if (told.outcome === "answer") return count
      if (later !== null && later.atMs - later.tookMs - told.atMs > calmMs) return count
      later = told
      count++
    }
    return count
  }

  #open(atMs: number) {
    this.isOpen = true
    this.#openings++
    this.#restFromMs = atMs
    this.#closedAtMs = null
    this.#say("down", atMs)
  }

  #close(atMs: number) {
    this.isOpen = false
    this.#told = [{ atMs, outcome: "answer", tookMs: 0 }]
    this.#epoch++
    this.#resetAtMs = atMs + this.#openForMs
    this.#closedAtMs = atMs
    this.#failedAtMs = null
    this.#isAnswered = true
  }

  #hold(atMs: number) {
    this.#closedAtMs = null
    this.#say(this.#failedAtMs === null ? "up" : "degraded", atMs)
  }

  #answer(atMs: number) {
    this.#isAnswered = true
    const isCalm = this.#failedAtMs === null || atMs >= this.#failedAtMs + calmMs
    if (this.health === "degraded" && isCalm) this.#say("up", atMs)
  }

  #fail(atMs: number) {
    this.#isAnswered = false
    this.#failedAtMs = atMs
    if (this.health === "up") this.#say("degraded", atMs)
  }

  #say(state: DependencyState, atMs: number) {
    if (this.health !== state) this.sinceMs = atMs
    this.health = state
  }
}

const outcomes: Record<CallStep, Effect.Effect<void, string | Broken>> = {
  answered: Effect.void,
  refused: Effect.fail("refused"),
  unreachable: Effect.fail(new Broken()),
  timeout: Effect.never,
  late: Effect.never,
  defect: Effect.die(new Error("a mistake"))
}

const toldOf = (step: CallStep, atMs: number): Told | null => {
  if (step === "answered" || step === "refused") return { atMs, outcome: "answer", tookMs: 0 }
  if (step === "unreachable") return { atMs, outcome: step, tookMs: 0 }
  return step === "timeout" ? { atMs, outcome: step, tookMs: deadlineMs } : null
}

const setUp = Effect.gen(function* () {
  const mode = yield* Ref.make<Mode>("lives")
  const sent = yield* Ref.make(0)
  const probes: Array<Probe> = []
  let underWay = 0
  const answer = { lives: Effect.void, dies: Effect.fail(new Broken()), hangs: Effect.never }
  const probe = Effect.gen(function* () {
    underWay++
    expect(underWay).toBe(1)
    const now = yield* Ref.get(mode)
    probes.push({ startMs: yield* Clock.currentTimeMillis, mode: now })
    return yield* answer[now]
  }).pipe(Effect.ensuring(Effect.sync(() => underWay--)))
  const guard = yield* makeGuard({
    dependency: "cache",
    deadline: Duration.millis(deadlineMs),
    concurrencyMax: 100,
    acquireDeadline: Duration.millis(10),
    probe,
    toFailure: (error) => (error instanceof Broken ? { reason: "unreachable", detail: "gone" } : null)
  })
  return { guard, mode, probes, sent }
})

const run = (steps: ReadonlyArray<Step>) =>
  Effect.gen(function* () {
    const { guard, mode, probes, sent } = yield* setUp
    const model = new Model(yield* Clock.currentTimeMillis)
    let taken = 0

    const agree = Effect.gen(function* () {
      const [known] = yield* Health.use((health) => health.all)
      model.advanceTo(yield* Clock.currentTimeMillis, probes)
      expect(yield* Ref.get(sent)).toBe(taken)
      expect(known?.state).toBe(model.health)
      expect(Math.abs(DateTime.toEpochMillis(known?.since ?? DateTime.nowUnsafe()) - model.sinceMs)).toBeLessThan(1.5)
    })
    const call = Effect.fnUntraced(function* (step: CallStep) {
      const beganMs = yield* Clock.currentTimeMillis
      const isAdmitted = model.admits(beganMs)
      if (isAdmitted) taken++
      const counted = Effect.andThen(
        Ref.update(sent, (count) => count + 1),
        outcomes[step]
      )
      const limit = step === "late" ? { deadline: Duration.millis(lateMs) } : {}
      const fiber = yield* Effect.forkScoped(Effect.exit(guard.call(counted, limit)), { startImmediately: true })
      if (step === "late") return isAdmitted ? model.beginLate(beganMs) : undefined
      if (step === "timeout") yield* TestClock.adjust(Duration.millis(deadlineMs))
      const endedMs = yield* Clock.currentTimeMillis
      model.advanceTo(endedMs - (step === "timeout" ? 0.5 : 0), probes)
      const told = isAdmitted ? toldOf(step, endedMs) : null
      if (told !== null) model.tell(told)
      const exit = yield* Effect.yieldNow.pipe(Effect.andThen(Effect.sync(() => fiber.pollUnsafe())))
      expect(isAdmitted || wasRejected(exit)).toBe(true)
    })
    const take = (step: Step) => {
      if (typeof step === "number") return TestClock.adjust(Duration.millis(step))
      return step === "lives" || step === "dies" || step === "hangs" ? Ref.set(mode, step) : call(step)
    }
    for (const step of steps) {
      yield* take(step)
      yield* agree
    }
    yield* Ref.set(mode, "lives")
    yield* TestClock.adjust("20 seconds")
    yield* agree
    expect(model.isOpen).toBe(false)
    yield* guard.call(Effect.void)
  })

const wasRejected = (exit: Exit.Exit<Exit.Exit<unknown, unknown>> | undefined): boolean => {
  if (exit === undefined || !Exit.isSuccess(exit) || !Exit.isFailure(exit.value)) return false
  const [reason] = exit.value.cause.reasons
  return reason?._tag === "Fail" && reason.error instanceof Unavailable && reason.error.reason === "breaker_open"
}

it.effect.prop(
  "does what the model does: calls, probes, rests and health",
  [Schema.Array(Step).check(Schema.isMaxLength(60))],
  ([steps]) => Effect.provide(Effect.scoped(run(steps)), Health.layer, { local: true }),
  { arbitrary: { runs: 400 } }
)
