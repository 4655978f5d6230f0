// The event log as its readers see it: committed events, in the order that the relay gave them.
import type { Envelope } from "@holdfast/contracts/Envelope"
import type { Position, StreamId, StreamVersion } from "@holdfast/contracts/Ids"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect, Schema, type Stream } from "effect"

/** Of one event log, for as long as its positions mean the same events. */
export const LogId = Schema.String.pipe(Schema.brand("LogId"))
export type LogId = typeof LogId.Type

export class EventLog extends Context.Service<
  EventLog,
  {
    /** Gives the next positions to committed events that have none, per stream in version order; how many it gave. Only the leader calls it; a second caller waits, so positions stay gapless. */
    assignPositions(countMax: number): Effect.Effect<number, Unavailable>
    /** The relay's cursor: everything up to here is confirmed by the broker. */
    readonly published: Effect.Effect<Position, Unavailable>
    /** Never moves the cursor back. */
    markPublished(position: Position): Effect.Effect<void, Unavailable>
    /** The relay's cursor and the log are this one's; events that a broker holds of another log mean nothing here. */
    readonly identity: Effect.Effect<LogId, Unavailable>
    /** For a log that was set back, by the restore of a backup: a new identity, and everything after `from` is published again. */
    renewIdentity(from: Position): Effect.Effect<void, Unavailable>
    readonly lastPosition: Effect.Effect<Position, Unavailable>
    /** Committed events wait for their positions: while that lasts, whoever has come to the last position is not current. */
    readonly hasUnpositioned: Effect.Effect<boolean, Unavailable>
    /** Positioned events after `after`, ascending, at most `countMax`. */
    readAfter(after: Position, countMax: number): Effect.Effect<ReadonlyArray<Envelope>, Unavailable>
    /** Positioned events of one stream after a version, ascending; at most 10 000. */
    readStream(streamId: StreamId, after: StreamVersion): Effect.Effect<ReadonlyArray<Envelope>, Unavailable>
    /** The events at these positions, ascending; positions that were never given are left out. */
    readAt(positions: ReadonlyArray<Position>): Effect.Effect<ReadonlyArray<Envelope>, Unavailable>
    /** Wakes whenever positions were assigned, and at least once a second; it may miss, so read after each. */
    readonly wakeups: Stream.Stream<void>
    /** Waits until it is this process's turn in `role`, then runs the work as its only holder. When the session that holds the role is lost the work is interrupted and this fails. */
    lead<A, E, R>(role: string, work: Effect.Effect<A, E, R>): Effect.Effect<A, E | Unavailable, R>
  }
>()("@holdfast/database/EventLog") {}
