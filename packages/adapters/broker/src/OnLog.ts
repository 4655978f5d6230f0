// What the RabbitMQ broker knows of the event log whose events it carries, where there is a database: which log it is, how to fill the
// queues from it, and how far each group has come.
import type { LogId } from "@holdfast/database/EventLog"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Effect } from "effect"
import type { ConsumerGroup } from "./Broker.ts"
import type { Handled } from "./Handled.ts"
import type { Refill } from "./Refill.ts"

export interface OnLog {
  readonly identity: Effect.Effect<LogId, Unavailable>
  readonly refill: Refill
  readonly handled: (group: ConsumerGroup) => Handled
}

/** Asked of the database, and so never within the broker's guard. */
export const identityOf = (onLog: OnLog | null): Effect.Effect<LogId | undefined, Unavailable> =>
  onLog?.identity ?? Effect.undefined
