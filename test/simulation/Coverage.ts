// How often each fault and each path took place, so that a simulation that has quietly become trivial is noticed.

export class Coverage {
  readonly counts = new Map<string, number>()

  hit(what: string, times = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + times)
  }

  addAll(other: Coverage): void {
    for (const [what, times] of other.counts) this.hit(what, times)
  }
}
