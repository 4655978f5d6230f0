// The event log as a list, for tests whose subject is what is made from it.
import type { Envelope } from "@holdfast/contracts/Envelope"
import { Position } from "@holdfast/contracts/Ids"
import { EventLog } from "@holdfast/database/EventLog"
import { Effect, Layer } from "effect"

/** What is asked of it, beside the answers. */
export const memoryLog = (envelopes: ReadonlyArray<Envelope>, hasUnpositioned = false) => {
  const asked: Array<string> = []
  const layer = Layer.mock(EventLog)({
    lastPosition: Effect.sync(() => Position.make(envelopes.at(-1)?.position ?? 0)),
    hasUnpositioned: Effect.succeed(hasUnpositioned),
    readStream: (streamId, after) =>
      Effect.sync(() => {
        asked.push(streamId)
        return envelopes.filter((one) => one.streamId === streamId && one.streamVersion > after)
      }),
    readAfter: (after, countMax) =>
      Effect.sync(() => envelopes.filter((one) => one.position > after).slice(0, countMax))
  })
  return { layer, asked }
}
