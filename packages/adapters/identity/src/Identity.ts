// Who somebody is: a bearer token (JWT, RFC 7519) verified against the key set of its issuer.
import type { Unauthenticated } from "@holdfast/contracts/CommandErrors"
import type { Principal } from "@holdfast/contracts/Principal"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, type Effect, type Redacted } from "effect"

export interface Verified {
  readonly principal: Principal
  /** Seconds since 1970: sockets close when their token ends. */
  readonly expiresAtSeconds: number
}

export class Identity extends Context.Service<
  Identity,
  {
    /** Signature, algorithm, issuer, audience and expiry are checked. A known key works while the issuer is away; an unknown one then is `Unavailable`. */
    verify(token: Redacted.Redacted<string>): Effect.Effect<Verified, Unauthenticated | Unavailable>
  }
>()("@holdfast/identity/Identity") {}
