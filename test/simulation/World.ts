// A world of simulated processes on one thread: whose turn it is, when time moves on, and what has happened so far. One seed decides all of
// it. Between two moments of virtual time every process that has something to do is run, in an order that the seed chooses; promises of
// libraries that know nothing of this are let settle before time moves on.
import { Cause } from "effect"
import { Coverage } from "./Coverage.ts"
import { Seed } from "./Seed.ts"
import { SimulatedProcess } from "./SimulatedProcess.ts"
import { Timers } from "./Timers.ts"

/** What was found to be broken, by the name of the rule. */
export class Violation extends Error {
  readonly invariant: string
  constructor(invariant: string, detail: string) {
    super(`${invariant}: ${detail}`)
    this.invariant = invariant
  }
}

const traceLinesMax = 4000
/** The world's own calendar: virtual time 0. */
export const epochMs = Date.UTC(2026, 10, 23, 9)

export class World {
  readonly seed: Seed
  readonly timers = new Timers()
  readonly coverage = new Coverage()
  readonly trace: Array<string> = []
  /** Of every line of the trace, those that were dropped included. */
  traceHash = 0
  nowMs = epochMs
  violation: Violation | null = null
  /** Whose turn it is. */
  #current: SimulatedProcess | null = null
  /** Real promises may be under way until there were so many moments without news. */
  #promisesFor = 0
  readonly #ready: Array<SimulatedProcess> = []

  constructor(seed: number) {
    this.seed = new Seed(seed)
  }

  process(name: string, skewMs = 0): SimulatedProcess {
    return new SimulatedProcess(this, name, skewMs)
  }

  /** Something outside of all processes: servers, the network, fate. */
  after(ms: number, run: () => void): void {
    this.timers.add(this.nowMs + ms, run)
  }

  hasTasks(process: SimulatedProcess): void {
    if (!this.#ready.includes(process)) this.#ready.push(process)
  }

  tell(line: string): void {
    const told = `${(this.nowMs - epochMs).toFixed(1)} ${line}`
    for (let index = 0; index < told.length; index++)
      this.traceHash = (Math.imul(this.traceHash, 31) + told.charCodeAt(index)) | 0
    this.trace.push(told)
    if (this.trace.length > traceLinesMax) this.trace.splice(0, traceLinesMax / 2)
  }

  violate(invariant: string, detail: string): void {
    if (this.violation !== null) return
    this.violation = new Violation(invariant, detail)
    this.tell(`VIOLATED ${invariant}: ${detail}`)
  }

  logged(process: SimulatedProcess, level: string, said: string, cause: Cause.Cause<unknown>): void {
    this.tell(`${process.name} ${level}: ${said}`)
    if (!Cause.hasDies(cause)) return
    this.violate("nothing dies", `${process.name}: ${said}\n${Cause.pretty(cause)}`)
  }

  /** As the process whose turn it is reads its clock. */
  get currentMs(): number {
    return this.#current?.nowMs ?? this.nowMs
  }

  /** What a process asked Node to do after this turn. */
  turnSoon(run: () => void): void {
    if (this.#current === null) this.after(0, () => this.outside(run))
    else this.#current.post(run)
  }

  /** What a promise waits for. */
  outside(run: () => void): void {
    this.expectPromises()
    run()
  }

  /** A library's promise is under way: it is let settle before time moves on. */
  expectPromises(): void {
    this.#promisesFor = promiseMoments
  }

  /** Until that moment of virtual time, or until something is found broken. */
  async runUntil(endMs: number): Promise<void> {
    while (this.violation === null) {
      this.#runReady()
      if (this.#promisesFor > 0) {
        this.#promisesFor--
        await promisesSettle()
        if (this.#ready.length > 0) continue
      }
      const next = this.timers.peek()
      if (next === null || next.atMs > endMs) break
      this.nowMs = next.atMs
      const { run } = next
      next.run = null
      run?.()
    }
    if (this.violation === null) this.nowMs = Math.max(this.nowMs, endMs)
  }

  #runReady(): void {
    while (this.#ready.length > 0 && this.violation === null) {
      const index = this.#ready.length === 1 ? 0 : this.seed.below(this.#ready.length)
      const process = this.#ready[index]
      if (process === undefined) return
      this.#current = process
      for (let turns = this.seed.between(1, turnsMax); turns > 0 && process.isReady; turns--) process.runTurn()
      this.#current = null
      if (!process.isReady) this.#ready.splice(this.#ready.indexOf(process), 1)
    }
  }
}

/** One process runs so many turns before another may. */
const turnsMax = 12
/** A chain of promises that crosses into Effect and back needs several. */
const promiseMoments = 3

const macrotask = globalThis.setImmediate
const promisesSettle = () => new Promise<void>((settled) => macrotask(settled))
