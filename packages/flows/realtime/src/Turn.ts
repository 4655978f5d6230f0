// Node serves its sockets between the turns of its loop. Work that may be long gives way after so much of it, so that a backlog of events for
// thousands of subscribers neither holds up anybody's answers nor fills the buffers of clients that would read if they were let.
import { Effect } from "effect"

export const nextTurn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})
