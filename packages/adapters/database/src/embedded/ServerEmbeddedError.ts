// Why the embedded PostgreSQL could not be made ready or started, in one sentence for the person who started the desk.
import { Schema } from "effect"

export class ServerEmbeddedError extends Schema.TaggedError<ServerEmbeddedError>()("ServerEmbeddedError", {
  sentence: Schema.String
}) {}
