// An answer that says where it came from and how old it is. Stale is visible in the type, never silent.
import { Position } from "@holdfast/contracts/Ids"
import { Schema } from "effect"

export const Freshness = Schema.Struct({
  /** `live`: the read database. `cached`: the cached read models, because the read database could not answer. */
  source: Schema.Literals(["live", "cached"]),
  /** When the source was last known to be current, UTC. */
  asOf: Schema.DateTimeUtcFromString,
  /** The last event that the source holds. */
  position: Position
})
export type Freshness = typeof Freshness.Type

export interface Sourced<A> {
  readonly value: A
  readonly freshness: Freshness
}
