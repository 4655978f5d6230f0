// Hourly volume: what each event adds, counted once.
import type { Consumer } from "@holdfast/broker/Consumer"
import { VolumeHours } from "@holdfast/database/VolumeHours"
import { volumeOf } from "@holdfast/domain/analytics/Volume"
import { Effect } from "effect"

export const recordAnalytics: Consumer<VolumeHours> = {
  group: "analytics",
  handle: (envelope) => {
    const delta = volumeOf(envelope)
    return delta === null ? Effect.void : VolumeHours.use((hours) => hours.add(envelope.eventId, delta))
  }
}
