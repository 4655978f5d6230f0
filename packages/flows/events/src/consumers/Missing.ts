// The events that bring a view from the version it holds to the newest of a batch. A batch continues what is held, or the view has lost
// something (it was evicted, or an event was dropped by an operator): then the log, which is the truth, fills in.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { StreamVersion } from "@holdfast/contracts/Ids"
import { EventLog } from "@holdfast/database/EventLog"
import { Effect } from "effect"

/** Of one stream, ascending, all after `held` (0: nothing is held). */
export const continuing = Effect.fnUntraced(function* (held: number, batch: ReadonlyArray<Envelope>) {
  const later = batch
    .filter(({ streamVersion }) => streamVersion > held)
    .sort((a, b) => a.streamVersion - b.streamVersion)
  const [first] = later
  if (first === undefined || isGapless(held, later)) return later
  const log = yield* EventLog
  return yield* log.readStream(first.streamId, StreamVersion.make(held))
})

const isGapless = (held: number, later: ReadonlyArray<Envelope>): boolean =>
  later.every(({ streamVersion }, index) => streamVersion <= (later[index - 1]?.streamVersion ?? held) + 1)
