// Where a test may put something broken into the desk, to see that the invariants notice.
import type { Broker } from "@holdfast/broker/Broker"
import type { Position } from "@holdfast/contracts/Ids"
import type { CommandStore } from "@holdfast/database/CommandStore"
import type { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import type { EventLog } from "@holdfast/database/EventLog"
import type { VolumeHours } from "@holdfast/database/VolumeHours"

export interface Mutation {
  readonly commandStore?: (store: CommandStore["Service"]) => CommandStore["Service"]
  readonly eventLog?: (log: EventLog["Service"]) => EventLog["Service"]
  readonly broker?: (broker: Broker["Service"]) => Broker["Service"]
  readonly cursors?: (cursors: ConsumerCursors["Service"]) => ConsumerCursors["Service"]
  readonly volumes?: (volumes: VolumeHours["Service"]) => VolumeHours["Service"]
  /** Where a subscription begins. */
  readonly resumeAfter?: (after: Position) => Position
  /** The store of commands minds no receipt. */
  readonly forgetsReceipts?: boolean
  /** The breakers take a refusal for a failure. */
  readonly countsRefusals?: boolean
}
