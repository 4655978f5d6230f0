// A bounded map that lets go of what was used longest ago.

export class Kept<A> {
  readonly #held = new Map<string, A>()
  readonly #countMax: number

  constructor(countMax: number) {
    this.#countMax = countMax
  }

  get(key: string): A | undefined {
    const value = this.#held.get(key)
    if (value !== undefined) {
      this.#held.delete(key)
      this.#held.set(key, value)
    }
    return value
  }

  set(key: string, value: A): void {
    this.#held.delete(key)
    this.#held.set(key, value)
    if (this.#held.size <= this.#countMax) return
    const oldest = this.#held.keys().next()
    if (oldest.done !== true) this.#held.delete(oldest.value)
  }

  delete(key: string): void {
    this.#held.delete(key)
  }
}
