// The only source of chance in a simulated world: everything that happens in it follows from one number. (sfc32, by Chris Doty-Humphrey.)
import type { Random } from "effect"

export class Seed {
  #a: number
  #b: number
  #c: number
  #count = 1

  constructor(seed: number, stream = 0) {
    this.#a = seed | 0
    this.#b = (seed / 2 ** 32) | 0
    this.#c = stream | 0
    for (let round = 0; round < 15; round++) this.#next32()
  }

  #next32(): number {
    const mixed = (((this.#a + this.#b) | 0) + this.#count) | 0
    this.#count = (this.#count + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + mixed
    this.#c |= 0
    return mixed >>> 0
  }

  /** From 0 up to 1. */
  next(): number {
    return this.#next32() / 2 ** 32
  }

  /** From 0 up to, and without, `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end)
  }

  /** Both ends included. */
  between(first: number, last: number): number {
    return first + this.below(last - first + 1)
  }

  chance(probability: number): boolean {
    return probability > 0 && this.next() < probability
  }

  pick<A>(from: ReadonlyArray<A>): A {
    const picked = from[this.below(from.length)]
    if (picked === undefined) throw new Error("nothing to pick from")
    return picked
  }

  /** UUIDv4 in form. */
  uuid(): string {
    const hex = Array.from({ length: 4 }, () => this.#next32().toString(16).padStart(8, "0")).join("")
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`
  }

  /** For Effect's own needs: jitter, backoff. */
  get random(): Random.Random {
    return {
      nextDoubleUnsafe: () => this.next(),
      nextIntUnsafe: () => Math.floor((this.next() - 0.5) * 2 * Number.MAX_SAFE_INTEGER)
    }
  }
}
