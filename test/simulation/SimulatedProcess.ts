// One process of the desk, as the machine sees it: code that runs turn by turn, a clock of its own that may be wrong by days, and no
// protection against `kill -9`: what a crash leaves behind is never run again, finalizers included, and only what it had sent out
// goes on. A pause is a process that hangs with its sockets open.
import { Clock, Context, Duration, Effect, type Fiber, Logger, Random, References, Scheduler, Tracer } from "effect"
import type { World } from "./World.ts"

export type ProcessState = "running" | "paused" | "dead"

export class SimulatedProcess {
  readonly name: string
  readonly world: World
  readonly skewMs: number
  readonly context: Context.Context<never>
  /** Anybody who is connected to it hears of its end. */
  readonly onEnd = new Set<() => void>()
  #state: ProcessState = "running"
  readonly #tasks: Array<() => void> = []
  #taken = 0

  constructor(world: World, name: string, skewMs: number) {
    this.world = world
    this.name = name
    this.skewMs = skewMs
    this.context = contextOf(this)
  }

  get state(): ProcessState {
    return this.#state
  }

  get isReady(): boolean {
    return this.#state === "running" && this.#tasks.length > 0
  }

  get nowMs(): number {
    return this.world.nowMs + this.skewMs
  }

  /** A turn of this process, when it comes to it. */
  post(task: () => void): void {
    if (this.#state === "dead") return
    this.#tasks.push(task)
    this.world.hasTasks(this)
  }

  after(ms: number, task: () => void): () => void {
    const timer = this.world.timers.add(this.world.nowMs + ms, () => this.post(task))
    return () => {
      timer.run = null
    }
  }

  runTurn(): void {
    const task = this.#tasks[this.#taken++]
    if (this.#taken === this.#tasks.length) {
      this.#tasks.length = 0
      this.#taken = 0
    }
    task?.()
  }

  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.context)(effect)
  }

  crash(): void {
    this.#state = "dead"
    this.#tasks.length = 0
    this.#taken = 0
    for (const heard of [...this.onEnd]) heard()
    this.onEnd.clear()
  }

  pause(): void {
    if (this.#state === "running") this.#state = "paused"
  }

  resume(): void {
    if (this.#state !== "paused") return
    this.#state = "running"
    if (this.#tasks.length > 0) this.world.hasTasks(this)
  }
}

const opsBeforeYield = 2048

const contextOf = (process: SimulatedProcess): Context.Context<never> => {
  const dispatcher: Scheduler.SchedulerDispatcher = { scheduleTask: (task) => process.post(task), flush: () => {} }
  const scheduler: Scheduler.Scheduler = {
    executionMode: "async",
    shouldYield: (fiber) => fiber.currentOpCount >= opsBeforeYield,
    makeDispatcher: () => dispatcher
  }
  return Context.empty().pipe(
    Context.add(Scheduler.Scheduler, scheduler),
    Context.add(Clock.Clock, clockOf(process)),
    Context.add(Random.Random, process.world.seed.random),
    Context.add(References.TracerEnabled, false),
    Context.add(Tracer.DisablePropagation, true),
    Context.add(References.MinimumLogLevel, "Warn"),
    Context.add(References.CurrentLoggers, new Set([loggerOf(process)]))
  )
}

const clockOf = (process: SimulatedProcess): Clock.Clock => {
  const nanos = () => BigInt(Math.round(process.nowMs * 1000)) * 1000n
  return {
    currentTimeMillisUnsafe: () => Math.floor(process.nowMs),
    currentTimeMillis: Effect.sync(() => Math.floor(process.nowMs)),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: (duration) => sleep(process, Duration.toMillis(duration))
  }
}

const sleep = (process: SimulatedProcess, ms: number): Effect.Effect<void> => {
  if (ms <= 0) return Effect.yieldNow
  if (!Number.isFinite(ms)) return Effect.never
  return Effect.callback<void>((resume) => {
    const callOff = process.after(ms, () => resume(Effect.void))
    return Effect.sync(callOff)
  })
}

/** Warnings are part of the story, errors and the causes of defects are kept for the invariants. */
const loggerOf = (process: SimulatedProcess): Logger.Logger<unknown, void> =>
  Logger.make(({ cause, logLevel, message }) => {
    const said = (Array.isArray(message) ? message : [message]).map(String).join(" ")
    process.world.logged(process, logLevel, said, cause)
  })
