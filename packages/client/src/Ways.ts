// Which way subscriptions go: by socket, unless sockets break as they do behind a proxy that does not know them. Then by event streams for a
// while. When neither works the desk is away, and both are tried in turn.
import { Feeds as Limits } from "./Limits.ts"
import type { Timing } from "./Timing.ts"

export class Ways {
  readonly #timing: Timing
  /** Sockets in a row. */
  #broken = 0
  #streamsUntilMs: number | null = null

  constructor(timing: Timing) {
    this.#timing = timing
  }

  isByStream(): boolean {
    if (this.#streamsUntilMs !== null && this.#timing.nowMs() >= this.#streamsUntilMs) this.#tryOneSocket()
    return this.#streamsUntilMs !== null
  }

  /** It ended with a word of the desk. */
  socketWorked(): void {
    this.#broken = 0
  }

  /** It was cut, or never opened. */
  socketBroke(acknowledgedAtMs: number | null): void {
    const nowMs = this.#timing.nowMs()
    const hasLived = acknowledgedAtMs !== null && nowMs - acknowledgedAtMs >= Limits.cutAtOnceMs
    this.#broken = hasLived ? 0 : this.#broken + 1
    if (this.#broken >= Limits.socketsBrokenMax) this.#streamsUntilMs = nowMs + Limits.streamsForMs
  }

  /** It never opened. */
  streamBroke(): void {
    this.#tryOneSocket()
  }

  #tryOneSocket(): void {
    this.#streamsUntilMs = null
    this.#broken = Limits.socketsBrokenMax - 1
  }
}
