// A place in the desk that a process fills: it is started, ends by a crash or a stop, and is started again, as the supervisor does.
import { type Context, type Effect, Exit, Scope } from "effect"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import type { World } from "./World.ts"

interface Life<S> {
  readonly process: SimulatedProcess
  readonly scope: Scope.Closeable
  /** Null while it starts. */
  services: Context.Context<S> | null
}

export type Boot<S> = (process: SimulatedProcess) => Effect.Effect<Context.Context<S>, never, Scope.Scope>

export class Member<S> {
  readonly name: string
  readonly #world: World
  readonly #skewMs: number
  readonly #boot: Boot<S>
  #life: Life<S> | null = null

  constructor(world: World, name: string, skewMs: number, boot: Boot<S>) {
    this.#world = world
    this.name = name
    this.#skewMs = skewMs
    this.#boot = boot
  }

  /** Who can be asked just now. */
  get serving(): { readonly process: SimulatedProcess; readonly services: Context.Context<S> } | null {
    const life = this.#life
    if (life === null || life.services === null || life.process.state === "dead") return null
    return { process: life.process, services: life.services }
  }

  get process(): SimulatedProcess | null {
    return this.#life?.process ?? null
  }

  start(): void {
    if (this.#life !== null && this.#life.process.state !== "dead") return
    const process = this.#world.process(this.name, this.#skewMs)
    const life: Life<S> = { process, scope: Scope.makeUnsafe(), services: null }
    this.#life = life
    this.#world.tell(`${this.name} starts`)
    process.post(() => {
      const booted = process.fork(Scope.provide(this.#boot(process), life.scope))
      booted.addObserver((exit) => {
        if (Exit.isSuccess(exit)) life.services = exit.value
        else this.#world.violate("nothing dies", `${this.name} does not start: ${exit.cause}`)
      })
    })
  }

  /** kill -9. */
  crash(): void {
    if (this.#life === null) return
    this.#world.tell(`${this.name} is killed`)
    this.#life.process.crash()
    this.#life = null
  }

  /** SIGTERM; what has not ended in time is killed. */
  stop(deadlineMs: number): void {
    const life = this.#life
    if (life === null) return
    this.#world.tell(`${this.name} stops`)
    life.services = null
    life.process.post(() => void life.process.fork(Scope.close(life.scope, Exit.void)))
    this.#world.after(deadlineMs, () => {
      if (this.#life === life) this.crash()
    })
  }

  pause(forMs: number): void {
    const { process } = this
    if (process === null) return
    this.#world.tell(`${this.name} hangs`)
    process.pause()
    this.#world.after(forMs, () => process.resume())
  }
}
