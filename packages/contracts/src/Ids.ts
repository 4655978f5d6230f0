// Branded identifiers. Every id that crosses a boundary is one of these, so that a ticket id can never be passed where a file
// id is wanted. UUIDs are accepted in lower case only: the text form is compared byte for byte in keys, receipts and links.
import { Schema } from "effect"

const Uuid = Schema.String.check(
  Schema.isPattern(/^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, {
    expected: "a UUID in lower case"
  })
)

export const TicketId = Uuid.pipe(Schema.brand("TicketId"))
export type TicketId = typeof TicketId.Type

export const MessageId = Uuid.pipe(Schema.brand("MessageId"))
export type MessageId = typeof MessageId.Type

/** Also the id of the upload that made the file. */
export const FileId = Uuid.pipe(Schema.brand("FileId"))
export type FileId = typeof FileId.Type

export const EventId = Uuid.pipe(Schema.brand("EventId"))
export type EventId = typeof EventId.Type

/** Made by the client, a UUIDv7 (RFC 9562) by preference. The same id means the same command, per principal. */
export const CommandId = Uuid.pipe(Schema.brand("CommandId"))
export type CommandId = typeof CommandId.Type

/** Follows one cause through command, event, broker and every reaction; reactions keep it. */
export const CorrelationId = Uuid.pipe(Schema.brand("CorrelationId"))
export type CorrelationId = typeof CorrelationId.Type

/** The aggregate that an event belongs to: a ticket id, a file id, or what is made of a principal id. */
export const StreamId = Uuid.pipe(Schema.brand("StreamId"))
export type StreamId = typeof StreamId.Type

/** A token's subject: 1 to 128 visible ASCII characters. */
export const PrincipalId = Schema.String.check(
  Schema.isPattern(/^[\x21-\x7e]{1,128}$/, { expected: "1 to 128 visible ASCII characters" })
).pipe(Schema.brand("PrincipalId"))
export type PrincipalId = typeof PrincipalId.Type

/** Number of events in a stream; 0 means the stream does not exist yet. */
export const StreamVersion = Schema.Natural.pipe(Schema.brand("StreamVersion"))
export type StreamVersion = typeof StreamVersion.Type

/** Place of an event in the whole log, given by the relay: gapless, from 1. 0 stands before the first. */
export const Position = Schema.Natural.pipe(Schema.brand("Position"))
export type Position = typeof Position.Type

/** SHA-256 of content, 64 lower-case hexadecimal digits. */
export const Sha256 = Schema.String.check(
  Schema.isPattern(/^[0-9a-f]{64}$/, { expected: "64 lower-case hexadecimal digits" })
).pipe(Schema.brand("Sha256"))
export type Sha256 = typeof Sha256.Type
