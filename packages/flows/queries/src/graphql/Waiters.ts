// Requests that wait for a version to become visible: few enough that their looking again cannot crowd out the others.
import { Queries } from "@holdfast/resilience/Limits"
import { Duration } from "effect"

export class Waiters {
  #waiting = 0

  /** `refusal` at once when too many wait already. */
  async wait<A>(look: (deadlineMs: number) => Promise<A>, refusal: Error): Promise<A> {
    if (this.#waiting >= Queries.versionWaitersMax) throw refusal
    this.#waiting++
    try {
      return await look(Date.now() + Duration.toMillis(Queries.versionWait))
    } finally {
      this.#waiting--
    }
  }
}
