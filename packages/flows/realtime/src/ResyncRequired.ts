// The cursor is older than what this desk still holds, so some events are gone for this subscriber: read a snapshot and resume
// from the position that it carries.
import { Position } from "@holdfast/contracts/Ids"
import { Schema } from "effect"

export class ResyncRequired extends Schema.TaggedError<ResyncRequired>()("ResyncRequired", {
  /** The oldest event still held; null when none is. */
  oldestPosition: Schema.NullOr(Position),
  /** The newest event; null while none is known. */
  position: Schema.NullOr(Position)
}) {
  override get message(): string {
    return "Events after this position are no longer held: read a snapshot and resume from its position."
  }

  /** As a client reads it among the errors of its operation. */
  get formatted() {
    const { message, oldestPosition, position } = this
    return { message, extensions: { code: "RESYNC_REQUIRED", oldestPosition, position } }
  }
}
