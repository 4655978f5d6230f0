// Which standard lists a ticket is in. One function decides it for queries, cached lists and live subscriptions alike.
import type { TicketFacts, Visibility } from "@holdfast/contracts/Envelope"
import type { Principal } from "@holdfast/contracts/Principal"
import type { TicketListName, TicketView } from "@holdfast/contracts/ticket/Views"
import { mayReadStream } from "../Permissions.ts"

export const factsOf = (view: TicketView): TicketFacts => ({
  status: view.status,
  assigneeId: view.assigneeId,
  requesterId: view.requester.id
})

const isUnsolved = (facts: TicketFacts): boolean => facts.status !== "solved" && facts.status !== "closed"

/** `mine` is the list of one reader; the others are everybody's. */
export const isInList = (list: TicketListName, facts: TicketFacts, reader: Principal): boolean => {
  if (!mayReadStream(reader, facts.requesterId)) return false
  switch (list) {
    case "all":
      return true
    case "open":
      return isUnsolved(facts)
    case "unassigned":
      return isUnsolved(facts) && facts.assigneeId === null
    case "solved":
      return !isUnsolved(facts)
    case "mine":
      return isUnsolved(facts) && facts.assigneeId === reader.id
  }
}

export type ListChange = "entered" | "changed" | "left"

/** What an event did to a list, for a reader who may read the event; null when the list is not concerned. */
export const listChange = (
  list: TicketListName,
  { after, before }: Visibility,
  reader: Principal
): ListChange | null => {
  const was = before !== null && isInList(list, before, reader)
  const is = after !== null && isInList(list, after, reader)
  if (is) return was ? "changed" : "entered"
  return was ? "left" : null
}
