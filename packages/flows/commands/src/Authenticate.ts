// Who calls, on any protocol: the bearer token of the `authorization` field, verified.
import { Unauthenticated, WriteUnavailable } from "@holdfast/contracts/CommandErrors"
import type { Principal } from "@holdfast/contracts/Principal"
import type { Identity } from "@holdfast/identity/Identity"
import { Effect, Redacted } from "effect"

export const authenticate = (
  identity: Identity["Service"],
  authorization: string | undefined
): Effect.Effect<Principal, Unauthenticated | WriteUnavailable> => {
  const token = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1]
  if (token === undefined) {
    return Effect.fail(new Unauthenticated({ detail: "send `authorization: Bearer <token>`" }))
  }
  return identity.verify(Redacted.make(token)).pipe(
    Effect.map(({ principal }) => principal),
    // The token may be good, but whoever could say so is away.
    Effect.catchTag("Unavailable", ({ retryAfterMs }) => Effect.fail(new WriteUnavailable({ retryAfterMs })))
  )
}
