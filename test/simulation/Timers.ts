// Virtual time: what is to happen when, as a binary heap. Equal moments come in the order in which they were asked for.

export interface Timer {
  readonly atMs: number
  readonly order: number
  /** Null once it was called off or has happened. */
  run: (() => void) | null
}

export class Timers {
  readonly #heap: Array<Timer> = []
  #order = 0

  add(atMs: number, run: () => void): Timer {
    const timer: Timer = { atMs, order: this.#order++, run }
    this.#heap.push(timer)
    this.#up(this.#heap.length - 1)
    return timer
  }

  /** The next one that was not called off; it stays where it is. */
  peek(): Timer | null {
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (first.run !== null) return first
      this.#pop()
    }
    return null
  }

  #pop(): void {
    const last = this.#heap.pop()
    if (last === undefined) return
    if (this.#heap.length > 0) {
      this.#heap[0] = last
      this.#down()
    }
  }

  #up(from: number): void {
    const heap = this.#heap
    for (let index = from; index > 0; ) {
      const above = (index - 1) >> 1
      const [child, parent] = [heap[index], heap[above]]
      if (child === undefined || parent === undefined || isBefore(parent, child)) return
      heap[index] = parent
      heap[above] = child
      index = above
    }
  }

  #down(): void {
    const heap = this.#heap
    for (let index = 0; ; ) {
      const left = index * 2 + 1
      const [one, other] = [heap[left], heap[left + 1]]
      if (one === undefined) return
      const [least, at] = other !== undefined && isBefore(other, one) ? [other, left + 1] : [one, left]
      const parent = heap[index]
      if (parent === undefined || isBefore(parent, least)) return
      heap[index] = least
      heap[at] = parent
      index = at
    }
  }
}

const isBefore = (one: Timer, other: Timer): boolean =>
  one.atMs === other.atMs ? one.order < other.order : one.atMs < other.atMs
