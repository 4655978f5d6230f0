// Hourly volume: what each event adds, counted once.
import type { Consumer } from "@holdfast/broker/Consumer"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { type Counted, VolumeHours } from "@holdfast/database/VolumeHours"
import { volumeOf } from "@holdfast/domain/analytics/Volume"
import { Effect } from "effect"
import { batched } from "./Batch.ts"

export const recordAnalytics = Effect.gen(function* () {
  const hours = yield* VolumeHours
  const handle = yield* batched((envelopes) => hours.add(envelopes.flatMap(countedOf)))
  return { group: "analytics", wants: (envelope) => volumeOf(envelope) !== null, handle } satisfies Consumer
})

const countedOf = (envelope: Envelope): ReadonlyArray<Counted> => {
  const delta = volumeOf(envelope)
  return delta === null ? [] : [{ eventId: envelope.eventId, delta }]
}
