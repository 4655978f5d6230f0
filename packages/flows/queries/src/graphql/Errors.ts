// The errors that a client can act on, each with a stable `extensions.code`. Anything else is our mistake: it is logged, and the client is
// told no more than that.

import { Queries } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import { GraphQLError } from "graphql"

export const badInput = (message: string): never => {
  throw new GraphQLError(message, { extensions: { code: "BAD_USER_INPUT" } })
}

export const forbidden = (message: string) => new GraphQLError(message, { extensions: { code: "FORBIDDEN" } })

export const readUnavailable = (retryAfterMs: number) =>
  new GraphQLError("The desk cannot read this just now; try again.", {
    extensions: { code: "READ_UNAVAILABLE", retryAfterMs }
  })

export const versionNotReached = (atLeastVersion: number) =>
  new GraphQLError(`Version ${atLeastVersion} is not visible yet; try again, or ask without atLeastVersion.`, {
    extensions: { code: "VERSION_NOT_REACHED", retryAfterMs: Duration.toMillis(Queries.retryAfter) }
  })

export const tooCostly = (message: string) => new GraphQLError(message, { extensions: { code: "QUERY_TOO_COSTLY" } })

export const persistedQueryNotFound = () =>
  new GraphQLError("PersistedQueryNotFound", { extensions: { code: "PERSISTED_QUERY_NOT_FOUND" } })

/** As it goes out: a code that is there stays, what the client got wrong is `BAD_USER_INPUT`, and a mistake of ours says nothing. */
export const toPublic = (error: GraphQLError): GraphQLError => {
  if (error.extensions.code !== undefined || error.originalError == null) return error
  return error.originalError instanceof GraphQLError ? error : internal(error)
}

export const isInternal = (error: GraphQLError): boolean =>
  error.extensions.code === undefined && error.originalError != null && !(error.originalError instanceof GraphQLError)

const internal = (error: GraphQLError) =>
  new GraphQLError("This failed for a reason of our own; it is being looked into.", {
    ...(error.nodes === undefined ? {} : { nodes: error.nodes }),
    ...(error.path === undefined ? {} : { path: error.path }),
    extensions: { code: "INTERNAL" }
  })
