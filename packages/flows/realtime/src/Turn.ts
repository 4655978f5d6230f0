// Node serves its sockets between the turns of its loop. Work that may be long gives way after so much of it, so that a backlog of events for
// thousands of subscribers neither holds up anybody's answers nor fills the buffers of clients that would read if they were let.
import { Realtime } from "@holdfast/resilience/Limits"
import { ByteSize, Effect } from "effect"
import type { Hub } from "./Hub.ts"

const bytesMax = ByteSize.toNumberUnsafe(Realtime.turnBytesMax)

/** Begins a turn; asks whether it has had its share. */
export const beginTurn = (hub: Pick<Hub, "work" | "liveBytes">): (() => boolean) => {
  const [workAtStart, bytesAtStart] = [hub.work, hub.liveBytes]
  return () => hub.work - workAtStart >= Realtime.turnWorkMax || hub.liveBytes - bytesAtStart >= bytesMax
}

export const nextTurn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})
