// Hourly volume: how many tickets were opened and solved in each hour, and how many messages were written.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { DateTime } from "effect"

export interface VolumeDelta {
  /** The start of the hour, UTC. */
  readonly hour: DateTime.Utc
  readonly opened: number
  readonly solved: number
  readonly replies: number
}

/** What an event adds to its hour; null when it adds nothing. */
export const volumeOf = (envelope: Envelope): VolumeDelta | null => {
  const delta = { hour: DateTime.startOf(envelope.occurredAt, "hour"), opened: 0, solved: 0, replies: 0 }
  switch (envelope.event._tag) {
    case "TicketOpened":
      return { ...delta, opened: 1 }
    case "TicketReplied":
      return { ...delta, replies: 1 }
    case "TicketStatusChanged":
      return envelope.event.to === "solved" ? { ...delta, solved: 1 } : null
    default:
      return null
  }
}
