// Equal questions asked at the same moment share one read. A read begins once everything that has arrived was looked at, and whoever asks
// after it has begun gets the answer of the next one: sharing never makes an answer older than the question.

interface Line<A> {
  /** Settles when the latest read that has begun has ended, however it ended. */
  last: Promise<unknown>
  /** Asked for, and not begun: whoever asks now shares it. */
  next: Promise<A> | null
}

export class SharedReads<A> {
  readonly #lines = new Map<string, Line<A>>()

  /** Bounded by the questions under way. */
  read(key: string, ask: () => Promise<A>): Promise<A> {
    let line = this.#lines.get(key)
    if (line === undefined) {
      line = { last: Promise.resolve(), next: null }
      this.#lines.set(key, line)
    }
    line.next ??= this.#readNext(key, line, ask)
    return line.next
  }

  async #readNext(key: string, line: Line<A>, ask: () => Promise<A>): Promise<A> {
    await line.last
    await arrivedLookedAt()
    line.next = null
    try {
      const reading = ask()
      line.last = reading.then(nothing, nothing)
      return await reading
    } finally {
      if (line.next === null) this.#lines.delete(key)
    }
  }
}

const nothing = () => {}

/** Requests that this process has received and not looked at yet come before what an immediate runs. */
const arrivedLookedAt = () => new Promise<void>((done) => setImmediate(done))
