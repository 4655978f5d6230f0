// What the command path asks of the core database: what is known about a batch of commands, and appending what was decided. Nothing is
// held open between the two. The append is one statement: it locks the aggregates in id order, keeps the commands whose aggregate
// is still at the version that was decided on and whose receipt is new, and writes receipt, state and events of those together
// or not at all. So a command happens once however often and on however many processes it is sent.
import type { CommandAccepted, StreamType } from "@holdfast/contracts/Command"
import type { DeskEvent } from "@holdfast/contracts/DeskEvent"
import type { Traceparent, Visibility } from "@holdfast/contracts/Envelope"
import type { CommandId, CorrelationId, EventId, PrincipalId, StreamId, StreamVersion } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import type { AggregateState } from "@holdfast/domain/Aggregates"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type DateTime, type Effect } from "effect"

export interface CommandKey {
  readonly principalId: PrincipalId
  readonly commandId: CommandId
  readonly streamId: StreamId
}

export interface Receipt {
  /** Of the command that was accepted under this id. */
  readonly fingerprint: string
  readonly answer: CommandAccepted
}

export interface StoredAggregate {
  readonly streamType: string
  readonly version: StreamVersion
  readonly state: AggregateState
}

export interface Known {
  readonly receipt: Receipt | null
  readonly aggregate: StoredAggregate | null
}

export interface Decided {
  readonly principal: Principal
  readonly commandId: CommandId
  readonly fingerprint: string
  readonly answer: CommandAccepted
  readonly streamType: StreamType
  readonly streamId: StreamId
  /** What the decision was made on; 0 when the aggregate did not exist. */
  readonly decidedVersion: StreamVersion
  /** After the events. */
  readonly state: AggregateState | null
  readonly events: ReadonlyArray<DecidedEvent>
  readonly correlationId: CorrelationId
  readonly causationId: EventId | null
  readonly traceparent: typeof Traceparent.Type | null
  readonly occurredAt: DateTime.Utc
}

export interface DecidedEvent {
  readonly eventId: EventId
  readonly event: DeskEvent
  readonly visibility: Visibility
}

/**
 * appended: durable. receipt_existed: this principal's commandId was accepted before; nothing was written. version_moved: somebody
 * changed the aggregate first; nothing was written. busy: somebody holds the aggregate's lock for too long; nothing was written.
 * refused: the database will not have it, which is a bug and is logged; nothing was written. Unavailable: the database went away
 * before this one, while others of the batch may be durable.
 */
export type AppendOutcome = "appended" | "receipt_existed" | "version_moved" | "busy" | "refused" | Unavailable

export class CommandStore extends Context.Service<
  CommandStore,
  {
    /** In the order of the keys; receipt and aggregate as of one moment. */
    load(keys: ReadonlyArray<CommandKey>): Effect.Effect<ReadonlyArray<Known>, Unavailable>
    /** In the order given. A stream may occur once. Fails as a whole only when the database is away; then see `mayHaveHappened`. */
    append(batch: ReadonlyArray<Decided>): Effect.Effect<ReadonlyArray<AppendOutcome>, Unavailable>
    /** Unique over all processes, ascending within one, with gaps. Usually needs no round trip. */
    takeNumbers(count: number): Effect.Effect<ReadonlyArray<number>, Unavailable>
    /** For numbers that certainly no command was appended with: the next who ask get them. */
    giveBackNumbers(numbers: ReadonlyArray<number>): Effect.Effect<void>
    /** Removes receipts whose time is over; how many it removed, at most `countMax`. */
    sweepReceipts(countMax: number): Effect.Effect<number, Unavailable>
  }
>()("@holdfast/database/CommandStore") {}
