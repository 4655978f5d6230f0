// Events for tests of what moves events: streams by a letter, positions in the order of the call.
import type { Envelope } from "@holdfast/contracts/Envelope"
import {
  CommandId,
  CorrelationId,
  EventId,
  MessageId,
  Position,
  PrincipalId,
  StreamId,
  StreamVersion,
  TicketId
} from "@holdfast/contracts/Ids"
import { DateTime } from "effect"

const uuid = (kind: number, value: number) =>
  `${kind.toString(16).padStart(8, "0")}-0000-7000-8000-${value.toString(16).padStart(12, "0")}`

export const streamOf = (letter: string) => StreamId.make(uuid(1, letter.charCodeAt(0)))

const agent = PrincipalId.make("agent-1")
const requester = PrincipalId.make("customer-1")

export const envelopeOf = (streamId: StreamId, letter: string, version: number, position: number): Envelope => ({
  eventId: EventId.make(uuid(2, position)),
  streamType: "ticket",
  streamId,
  streamVersion: StreamVersion.make(version),
  schemaVersion: 1,
  position: Position.make(position),
  occurredAt: DateTime.makeUnsafe("2026-11-22T10:00:00Z"),
  principal: { id: agent, role: "agent" },
  commandId: CommandId.make(uuid(3, position)),
  correlationId: CorrelationId.make(uuid(4, position)),
  causationId: null,
  traceparent: null,
  visibility: { audience: "public", requesterId: requester, before: null, after: null },
  event: {
    _tag: "TicketReplied",
    ticketId: TicketId.make(streamId),
    messageId: MessageId.make(uuid(5, position)),
    body: `${letter}${version}`
  }
})

/** "a1" and the like: the stream's letter and the version. */
export const label = ({ event, streamVersion }: Envelope): string =>
  event._tag === "TicketReplied" ? event.body : `${event._tag}${streamVersion}`

/** `sequence("aab")` is a1, a2, b1 at positions 1, 2, 3 after `after`. */
export const sequence = (letters: string, after = 0): ReadonlyArray<Envelope> => {
  const versions = new Map<string, number>()
  return [...letters].map((letter, index) => {
    const version = (versions.get(letter) ?? 0) + 1
    versions.set(letter, version)
    return envelopeOf(streamOf(letter), letter, version, after + index + 1)
  })
}
