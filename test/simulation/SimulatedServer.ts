// A server that processes call over the network: a database, a broker, a disk. A call travels, is done at one moment, and its answer travels
// back; on each leg it may be late or lost. What a server has done stays done whoever has died meanwhile; what it was doing when it
// was killed is not.
import { type Guard, type GuardOptions, makeGuard } from "@holdfast/resilience/Guard"
import { Unavailable, type UnavailableReason } from "@holdfast/resilience/Unavailable"
import { Data, Effect } from "effect"
import { type CallFaults, noFaults, type OutageMode, type ServerName } from "./FaultPlan.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import type { World } from "./World.ts"

/** The server was not reached, or nobody knows what it did. */
export class ServerLost extends Data.TaggedError("ServerLost")<{ readonly reason: UnavailableReason }> {}

/** The server is well and will not have it: somebody else holds what it needs, or the call itself is not right. */
export class ServerRefusal extends Data.TaggedError("ServerRefusal")<{
  readonly kind: "contention" | "unique" | "other"
}> {}

export type ServerError = ServerLost | ServerRefusal
type Done<A> = (result: A | ServerRefusal) => void

export class SimulatedServer {
  readonly name: ServerName
  readonly world: World
  faults: CallFaults = noFaults
  mode: OutageMode | "up" = "up"
  /** Counts its lives: what began in another one is lost. */
  life = 0
  readonly #held: Array<() => void> = []
  /** Connections that end with it: sessions, channels. */
  readonly onLost = new Set<() => void>()
  /** Calls per process that did not simply work. */
  readonly troubles = new Map<SimulatedProcess, number>()

  constructor(world: World, name: ServerName) {
    this.world = world
    this.name = name
  }

  fail(mode: OutageMode): void {
    this.mode = mode
    this.world.tell(`${this.name} is ${mode}`)
    this.world.coverage.hit(`outage ${mode}`)
    if (mode !== "killed" && mode !== "refusing") return
    this.life++
    this.breakConnections()
  }

  recover(): void {
    if (this.mode === "up") return
    this.mode = "up"
    this.world.tell(`${this.name} is up`)
    for (const arrive of this.#held.splice(0)) arrive()
  }

  breakConnections(): void {
    const lost = [...this.onLost]
    this.onLost.clear()
    for (const heard of lost) heard()
  }

  latencyMs(): number {
    return 0.2 + this.world.seed.next() * this.faults.latencyMsMax
  }

  troubled(process: SimulatedProcess, what: string): void {
    this.world.coverage.hit(`${this.name} ${what}`)
    this.troubles.set(process, (this.troubles.get(process) ?? 0) + 1)
  }

  /** Done at one moment. */
  call<A>(process: SimulatedProcess, work: () => A): Effect.Effect<A, ServerError> {
    return this.callLong<A>(process, (done) => {
      try {
        done(work())
      } catch (error) {
        if (!(error instanceof ServerRefusal)) throw error
        done(error)
      }
    })
  }

  /** Done when `done` is called; not at all if the server is killed before that. */
  callLong<A>(process: SimulatedProcess, work: (done: Done<A>) => void): Effect.Effect<A, ServerError> {
    return Effect.callback<A, ServerError>((resume) => {
      const answer = (result: Effect.Effect<A, ServerError>, ms = this.latencyMs()) =>
        void process.after(ms, () => resume(result))
      const lose = (reason: UnavailableReason, ms?: number) => answer(Effect.fail(new ServerLost({ reason })), ms)
      if (this.mode === "refusing" || this.mode === "killed") {
        this.troubled(process, "unreachable")
        return lose("unreachable")
      }
      const { seed } = this.world
      const isSlow = seed.chance(this.faults.slow)
      if (isSlow) this.troubled(process, "slow")
      const arrive = () => {
        if (this.mode === "refusing" || this.mode === "killed") return void this.#cut(process, lose)
        if (this.mode === "silent") return void this.troubled(process, "silent")
        if (this.mode === "hung") {
          this.troubled(process, "hung")
          this.#held.push(arrive)
          return
        }
        this.#serve(process, work, answer, lose)
      }
      if (seed.chance(this.faults.lostRequest))
        return void this.world.after(this.latencyMs(), () => this.#cut(process, lose))
      this.world.after(this.latencyMs() + (isSlow ? 2_000 : 0), arrive)
    })
  }

  #cut(process: SimulatedProcess, lose: (reason: UnavailableReason) => void): void {
    this.troubled(process, "lost request")
    lose("connection_lost")
  }

  #serve<A>(
    process: SimulatedProcess,
    work: (done: Done<A>) => void,
    answer: (result: Effect.Effect<A, ServerError>) => void,
    lose: (reason: UnavailableReason) => void
  ): void {
    const { life } = this
    const { seed } = this.world
    if (seed.chance(this.faults.refused)) {
      this.world.coverage.hit(`${this.name} refusal`)
      answer(Effect.fail(new ServerRefusal({ kind: "contention" })))
      return
    }
    // A connection that breaks tells nothing of what was sent over it, which may go on.
    const broken = () => {
      this.troubled(process, "broken connection")
      lose("connection_lost")
    }
    this.onLost.add(broken)
    work((result) => {
      if (!this.onLost.delete(broken) || this.life !== life) return
      if (result instanceof ServerRefusal) return answer(Effect.fail(result))
      if (!seed.chance(this.faults.lostAnswer)) return answer(Effect.succeed(result))
      this.troubled(process, "lost answer")
      if (seed.chance(0.7)) lose("connection_lost")
    })
  }
}

/** A server as an adapter calls it: through the guard that the real one has. */
export interface Guarded {
  readonly guard: Guard
  /** Contention is `refused` and counts for nothing; any other refusal that the caller did not catch is a bug. */
  run<A, E>(effect: Effect.Effect<A, E | ServerError>): Effect.Effect<A, Exclude<E, ServerError> | Unavailable>
  call<A>(work: () => A): Effect.Effect<A, Unavailable>
}

export const guarded = Effect.fnUntraced(function* (
  process: SimulatedProcess,
  server: SimulatedServer,
  options: Omit<GuardOptions, "probe" | "toFailure">,
  countsRefusals = false
) {
  const guard = yield* makeGuard({
    ...options,
    probe: server.call(process, () => true),
    toFailure: (error) => {
      if (error instanceof ServerLost) return { reason: error.reason, detail: "simulated" }
      return countsRefusals && error instanceof ServerRefusal ? { reason: "refused", detail: error.kind } : null
    }
  })
  const run: Guarded["run"] = (effect) => refusalsDie(options.dependency, guard, effect)
  const made: Guarded = { guard, run, call: (work) => run(server.call(process, work)) }
  return made
})

const refusalsDie = <A, E>(
  dependency: GuardOptions["dependency"],
  guard: Guard,
  effect: Effect.Effect<A, E | ServerError>
): Effect.Effect<A, Exclude<E, ServerError> | Unavailable> =>
  Effect.catch(guard.call(effect), (error): Effect.Effect<never, Exclude<E, ServerError> | Unavailable> => {
    if (error instanceof Unavailable) return Effect.fail(error)
    if (error instanceof ServerRefusal && error.kind === "contention")
      return Effect.fail(new Unavailable({ dependency, reason: "refused", retryAfterMs: 100, detail: "contention" }))
    return isOwn(error) ? Effect.fail(error) : Effect.die(error)
  })

const isOwn = <E>(error: E | ServerError): error is Exclude<E, ServerError> =>
  !(error instanceof ServerRefusal) && !(error instanceof ServerLost)
