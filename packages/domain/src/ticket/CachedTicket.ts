// Where a ticket stands in the cached read models: its key, the lists it is in, the words that find it. The consumer that writes and the
// query that reads ask here, so they cannot disagree. A customer's lists are their own keys, in order of what that customer can see:
// a note moves a ticket up in the agents' lists and nowhere else.
import { PrincipalId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { type TicketDocument, TicketListName, type TicketView } from "@holdfast/contracts/ticket/Views"
import { DateTime } from "effect"
import { wordsOf } from "./SearchWords.ts"
import { factsOf, isInList } from "./TicketLists.ts"

export const ticketKey = (id: string) => `ticket/${id}` as const
export const fileKey = (id: string) => `file/${id}` as const
/** Hourly volume of the last weeks, as one document. */
export const volumeKey = "volume/recent" as const
export interface CachedVolume {
  readonly fromMs: number
  readonly position: number
  readonly asOfMs: number
  /** Those in which something happened, ascending. */
  readonly hours: ReadonlyArray<{
    readonly hour: string
    readonly opened: number
    readonly solved: number
    readonly replies: number
  }>
}
export const personKey = (id: string) => `person/${id}` as const

export interface CachedReader {
  readonly id: string
  readonly isStaff: boolean
}

/** `mine` is one agent's; every other list is the same for all staff. */
export const cachedList = (list: TicketListName, { id, isStaff }: CachedReader): string =>
  isStaff ? (list === "mine" ? `staff/mine/${id}` : `staff/${list}`) : `customer/${id}/${list}`

export interface CachedPlace {
  readonly list: string
  readonly score: number
}

export const placesOf = (view: TicketView): ReadonlyArray<CachedPlace> => {
  const agent: Principal = { id: view.assigneeId ?? nobody, role: "agent" }
  const customer: Principal = { id: view.requester.id, role: "customer" }
  const facts = factsOf(view)
  const lists = (reader: Principal, score: number) =>
    TicketListName.literals
      .filter((list) => isInList(list, facts, reader))
      .map((list) => ({ list: cachedList(list, { id: reader.id, isStaff: reader.role !== "customer" }), score }))
  return [
    ...lists(agent, DateTime.toEpochMillis(view.updatedAt)),
    ...lists(customer, DateTime.toEpochMillis(view.publicUpdatedAt))
  ]
}

const nobody = PrincipalId.make("-")

export interface CachedWords {
  readonly public: ReadonlyArray<string>
  readonly internal: ReadonlyArray<string>
}

export const wordsOfDocument = ({ messages, ticket }: TicketDocument, countMax: number): CachedWords => {
  const of = (audience: "public" | "internal") =>
    messages.filter((message) => message.audience === audience).map((message) => message.body)
  return {
    public: wordsOf([String(ticket.number), ticket.subject, ...of("public")].join(" "), countMax),
    internal: wordsOf(of("internal").join(" "), countMax)
  }
}
