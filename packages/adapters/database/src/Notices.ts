// Short notices among processes through the core database: nothing of them is kept, and whoever does not listen just then misses them.
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect, type Stream } from "effect"

export class Notices extends Context.Service<
  Notices,
  {
    /** To everybody who listens, this process included. Less than 8000 bytes. */
    tell(channel: string, text: string): Effect.Effect<void, Unavailable>
    /** Never ends and never fails: when the line is lost it listens again, and misses what was told meanwhile. */
    heard(channel: string): Stream.Stream<string>
  }
>()("@holdfast/database/Notices") {}
