// Who is on which ticket and who writes, as all gateways tell it. Plain state without a clock: what is said at a time counts until a while
// after it, and each saying of one gateway about one person on one ticket replaces the one before. Nothing here lasts and everything is
// bounded: beyond a bound somebody is missing from a list, no more. What a reader is shown of it is made here alone, so what is not made here
// cannot leak: a customer is shown nobody.
import type { PrincipalId, TicketId } from "@holdfast/contracts/Ids"
import type { Role } from "@holdfast/contracts/Principal"
import type { Audience } from "@holdfast/contracts/ticket/Status"

export interface PresentPerson {
  readonly id: PrincipalId
  readonly name: string | null
  readonly role: Role
}

/** What one gateway says of one person on one ticket. Neither viewing nor writing: gone. */
export interface Sighting {
  readonly ticketId: TicketId
  readonly person: PresentPerson
  readonly isViewing: boolean
  /** What they write; null: nothing. */
  readonly writing: Audience | null
}

export interface PresenceBounds {
  readonly viewingMs: number
  readonly writingMs: number
  readonly ticketsMax: number
  readonly peoplePerTicketMax: number
  readonly peopleShownMax: number
}

/** As `Presence` in the schema. */
export interface PresenceView {
  readonly ticketId: TicketId
  readonly people: ReadonlyArray<PresentPerson & { readonly state: "viewing" | "writing" }>
  readonly collision: boolean
  readonly isStaffWriting: boolean
}

interface Seen {
  readonly person: PresentPerson
  readonly viewingUntilMs: number
  readonly writing: Audience | null
  readonly writingUntilMs: number
}

export class Presence {
  readonly #bounds: PresenceBounds
  /** By ticket, then by gateway and person. */
  readonly #tickets = new Map<TicketId, Map<string, Seen>>()

  constructor(bounds: PresenceBounds) {
    this.#bounds = bounds
  }

  get ticketCount(): number {
    return this.#tickets.size
  }

  /** `source`: the gateway that says it. */
  sight(source: string, { isViewing, person, ticketId, writing }: Sighting, nowMs: number): void {
    const key = `${source} ${person.id}`
    const { viewingMs, writingMs } = this.#bounds
    if (!isViewing && writing === null) this.#remove(ticketId, key)
    else
      this.#roomFor(ticketId, key)?.set(key, {
        person,
        viewingUntilMs: isViewing ? nowMs + viewingMs : nowMs,
        writing,
        writingUntilMs: writing === null ? nowMs : nowMs + writingMs
      })
  }

  /** Forgets who was not heard of for too long; the tickets of which somebody was. */
  expire(nowMs: number): ReadonlyArray<TicketId> {
    const changed: Array<TicketId> = []
    for (const [ticketId, seen] of this.#tickets) {
      const gone = [...seen].filter(([, one]) => one.viewingUntilMs <= nowMs && one.writingUntilMs <= nowMs)
      for (const [key] of gone) this.#remove(ticketId, key)
      const paused = [...seen].filter(([, one]) => one.writing !== null && !isWriting(one, nowMs))
      for (const [key, one] of paused) seen.set(key, { ...one, writing: null })
      if (gone.length > 0 || paused.length > 0) changed.push(ticketId)
    }
    return changed
  }

  viewFor(ticketId: TicketId, isStaffReader: boolean, nowMs: number): PresenceView {
    const seen = [...(this.#tickets.get(ticketId)?.values() ?? [])]
    const writers = seen.filter((one) => isWriting(one, nowMs))
    const staffWriters = writers.filter(({ person }) => person.role !== "customer")
    if (!isStaffReader) {
      const isStaffWriting = staffWriters.some(({ writing }) => writing === "public")
      return { ticketId, people: [], collision: false, isStaffWriting }
    }
    return {
      ticketId,
      people: peopleOf(seen, writers, nowMs).slice(0, this.#bounds.peopleShownMax),
      collision: new Set(staffWriters.map(({ person }) => person.id)).size > 1,
      isStaffWriting: staffWriters.length > 0
    }
  }

  /** Null: there is none. */
  #roomFor(ticketId: TicketId, key: string): Map<string, Seen> | null {
    const known = this.#tickets.get(ticketId)
    if (known === undefined && this.#tickets.size >= this.#bounds.ticketsMax) return null
    const seen = known ?? new Map<string, Seen>()
    if (!seen.has(key) && seen.size >= this.#bounds.peoplePerTicketMax) return null
    this.#tickets.set(ticketId, seen)
    return seen
  }

  #remove(ticketId: TicketId, key: string): void {
    const seen = this.#tickets.get(ticketId)
    seen?.delete(key)
    if (seen?.size === 0) this.#tickets.delete(ticketId)
  }
}

const isWriting = ({ writing, writingUntilMs }: Seen, nowMs: number): boolean =>
  writing !== null && writingUntilMs > nowMs

/** Each once, at however many gateways they are: who writes first, then by id, so that the same people are always the same list. */
const peopleOf = (seen: ReadonlyArray<Seen>, writers: ReadonlyArray<Seen>, nowMs: number): PresenceView["people"] => {
  const writing = new Set(writers.map(({ person }) => person.id))
  const present = seen.filter((one) => one.viewingUntilMs > nowMs || isWriting(one, nowMs))
  const people = new Map(present.map(({ person }) => [person.id, person]))
  return [...people.values()]
    .map((person) => ({ ...person, state: writing.has(person.id) ? ("writing" as const) : ("viewing" as const) }))
    .sort((a, b) => b.state.localeCompare(a.state) || a.id.localeCompare(b.id))
}
