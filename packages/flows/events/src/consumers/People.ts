// Everyone who is named by an event, as the newest event names them.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { type PersonRef, type Role, toPersonRef } from "@holdfast/contracts/Principal"

export interface NamedPerson {
  readonly person: PersonRef
  readonly role: Role | null
  readonly position: number
}

/** One entry per person. A service is nobody's colleague, and a name is what makes an entry worth keeping. */
export const peopleIn = (envelopes: ReadonlyArray<Envelope>): ReadonlyArray<NamedPerson> => {
  const people = new Map<string, NamedPerson>()
  for (const { event, position, principal } of [...envelopes].sort((a, b) => a.position - b.position)) {
    if (event._tag === "TicketOpened") add(people, { person: event.requester, role: null, position })
    if (principal.role !== "service") add(people, { person: toPersonRef(principal), role: principal.role, position })
  }
  return [...people.values()]
}

const add = (people: Map<string, NamedPerson>, { person, position, role }: NamedPerson) => {
  if (person.name === undefined && person.email === undefined) return
  const before = people.get(person.id)
  people.set(person.id, { person: { ...before?.person, ...person }, role: role ?? before?.role ?? null, position })
}
