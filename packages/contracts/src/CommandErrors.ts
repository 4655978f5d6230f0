// What any command, on any protocol, may be answered with besides its own refusals. The status is HTTP's, the tag is the same
// everywhere. `retryAfterMs` says when repeating the same commandId is worth it.
import { Schema } from "effect"
import { CommandId, StreamVersion } from "./Ids.ts"

export class ValidationFailed extends Schema.TaggedError<ValidationFailed>()(
  "ValidationFailed",
  { issues: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String })) },
  { httpApiStatus: 400, title: "The request is not valid; each issue names the field and what is wrong with it." }
) {}

export class Unauthenticated extends Schema.TaggedError<Unauthenticated>()(
  "Unauthenticated",
  { detail: Schema.String },
  { httpApiStatus: 401, title: "A valid bearer token is needed." }
) {}

export class Forbidden extends Schema.TaggedError<Forbidden>()(
  "Forbidden",
  { detail: Schema.String },
  { httpApiStatus: 403, title: "Your role may not do this." }
) {}

export class VersionConflict extends Schema.TaggedError<VersionConflict>()(
  "VersionConflict",
  { expectedVersion: StreamVersion, actualVersion: StreamVersion },
  { httpApiStatus: 409, title: "Somebody changed it first; read it again." }
) {}

export class CommandInProgress extends Schema.TaggedError<CommandInProgress>()(
  "CommandInProgress",
  { commandId: CommandId, retryAfterMs: Schema.Natural },
  { httpApiStatus: 409, title: "This command is still under way; repeat it with the same commandId." }
) {}

export class CommandIdReused extends Schema.TaggedError<CommandIdReused>()(
  "CommandIdReused",
  { commandId: CommandId },
  { httpApiStatus: 422, title: "This commandId was used for a different command; use a fresh one." }
) {}

export class RateLimited extends Schema.TaggedError<RateLimited>()(
  "RateLimited",
  { retryAfterMs: Schema.Natural },
  { httpApiStatus: 429, title: "Too many commands from you; wait and repeat with the same commandId." }
) {}

export class Overloaded extends Schema.TaggedError<Overloaded>()(
  "Overloaded",
  { retryAfterMs: Schema.Natural },
  { httpApiStatus: 503, title: "The desk is at its limit; nothing was done. Repeat with the same commandId." }
) {}

export class WriteUnavailable extends Schema.TaggedError<WriteUnavailable>()(
  "WriteUnavailable",
  { retryAfterMs: Schema.Natural },
  { httpApiStatus: 503, title: "The desk cannot write just now; nothing was done. Repeat with the same commandId." }
) {}

export class OutcomeUnknown extends Schema.TaggedError<OutcomeUnknown>()(
  "OutcomeUnknown",
  { commandId: CommandId, retryAfterMs: Schema.Natural },
  {
    httpApiStatus: 503,
    title:
      "The connection was lost while saving; it may or may not be done. Repeat with the same commandId to learn which."
  }
) {}

/** In the order in which an edge can meet them. */
export const commandErrors = [
  ValidationFailed,
  Unauthenticated,
  Forbidden,
  RateLimited,
  Overloaded,
  CommandInProgress,
  CommandIdReused,
  VersionConflict,
  WriteUnavailable,
  OutcomeUnknown
] as const

export type CommandError = (typeof commandErrors)[number]["Type"]
