// Equal questions asked at the same moment share one read. Whoever asks while a read is under way gets the answer of the next one, which
// begins after they asked: sharing never makes an answer older than the question.

interface UnderWay<A> {
  readonly running: Promise<A>
  next: Promise<A> | null
}

export class SharedReads<A> {
  readonly #underWay = new Map<string, UnderWay<A>>()

  /** Bounded by the questions under way. */
  read(key: string, ask: () => Promise<A>): Promise<A> {
    const underWay = this.#underWay.get(key)
    if (underWay === undefined) return this.#start(key, ask)
    if (underWay.next === null) {
      const next = underWay.running.then(
        () => this.#start(key, ask),
        () => this.#start(key, ask)
      )
      underWay.next = next
      return next
    }
    return underWay.next
  }

  #start(key: string, ask: () => Promise<A>): Promise<A> {
    const running = ask()
    const mine: UnderWay<A> = { running, next: null }
    this.#underWay.set(key, mine)
    const end = () => {
      if (mine.next === null) this.#underWay.delete(key)
    }
    running.then(end, end)
    return running
  }
}
