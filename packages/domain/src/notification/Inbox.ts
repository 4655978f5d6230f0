// What somebody has read of what they were told. The notifications themselves follow from other events; here is only how far they were read,
// so that it is the same on all of one's devices and survives everything.
import { EventId, Position, PrincipalId } from "@holdfast/contracts/Ids"
import type { InboxCommand } from "@holdfast/contracts/notification/Commands"
import { type InboxEvent, NotificationsRead } from "@holdfast/contracts/notification/Events"
import { Result, Schema } from "effect"
import type { Decider } from "../Decider.ts"

export const Inbox = Schema.Struct({
  readerId: PrincipalId,
  /** As it was said last; null: never by position. */
  readUpTo: Schema.NullOr(Position),
  /** The newest that were read one by one, so that reading one twice is no news. */
  readEventIds: Schema.Array(EventId)
})
export type Inbox = typeof Inbox.Type

const readEventIdsMax = 500

export const InboxDecider: Decider<Inbox, InboxCommand, InboxEvent, never> = {
  decide: (state, { eventIds = [], upTo }, { principal }) => {
    const unread = [...new Set(eventIds)].filter((id) => state?.readEventIds.includes(id) !== true)
    // A lower position than before is told again, which changes nothing: whoever once named one too far ahead can still take it back.
    const isFurther = upTo !== undefined && upTo !== state?.readUpTo
    if (!isFurther && unread.length === 0) return Result.succeed([])
    return Result.succeed([
      NotificationsRead.make({
        principalId: principal.id,
        ...(isFurther ? { upTo } : {}),
        ...(unread.length > 0 ? { eventIds: unread } : {})
      })
    ])
  },
  evolve: (state, { eventIds = [], principalId, upTo }) => ({
    readerId: principalId,
    readUpTo: upTo ?? state?.readUpTo ?? null,
    readEventIds: [...(state?.readEventIds ?? []), ...eventIds].slice(-readEventIdsMax)
  })
}
