// What the two stores hold, for whoever compares it with what files need. Looking changes nothing; what the comparison may remove is what the
// sweep may remove, by the sweep's own way.
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect, type Stream } from "effect"
import type { Shelved } from "./Unneeded.ts"

export class Inventory extends Context.Service<
  Inventory,
  {
    /** All content whose hash begins with these two digits, page by page, in no order. */
    quarantined(folder: string): Stream.Stream<ReadonlyArray<Shelved>, Unavailable>
    released(folder: string): Stream.Stream<ReadonlyArray<Shelved>, Unavailable>
    /** What the sweep does in turns, now and for these two digits of both stores; how many contents it removed. */
    sweep(folder: string): Effect.Effect<number, Unavailable>
  }
>()("@holdfast/storage/Inventory") {}
