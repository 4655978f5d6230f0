// Serves the subscriptions that read from the window: each in turn a bounded number of events, never more than its client takes, with
// room for sockets and live events between the rounds.
import { Realtime } from "@holdfast/resilience/Limits"
import { Effect, type Latch } from "effect"
import type { Feed } from "./Feed.ts"
import type { Hub, Pumped } from "./Hub.ts"
import { beginTurn, nextTurn } from "./Turn.ts"

export const catchUp = (hub: Hub, feed: Feed, wake: Latch.Latch): Effect.Effect<never> =>
  Effect.suspend(() => {
    wake.closeUnsafe()
    const seen = round(hub, feed.nowMs())
    if (seen.has("moved")) return nextTurn
    if (seen.has("blocked")) return Effect.sleep(Realtime.catchUpPoll)
    return wake.await
  }).pipe(Effect.forever)

/** A part for each that waits, and what came of them. When everybody comes back at once that is too much for one turn: the rest come first in the next. */
export const round = (hub: Hub, nowMs: number): ReadonlySet<Pumped> => {
  const seen = new Set<Pumped>()
  const isOver = beginTurn(hub)
  for (const subscription of [...hub.waiting]) {
    seen.add(hub.pump(subscription, nowMs))
    if (isOver()) return seen.add("moved")
  }
  return seen
}
