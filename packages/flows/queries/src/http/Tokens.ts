// Bearer tokens as queries meet them: the same one again and again. A verified token is kept for a short while, never beyond its expiry,
// under its hash rather than itself.
import { createHash } from "node:crypto"
import type { Principal } from "@holdfast/contracts/Principal"
import type { Identity } from "@holdfast/identity/Identity"
import { Queries } from "@holdfast/resilience/Limits"
import { Duration, Effect, Redacted } from "effect"
import { Kept } from "../Kept.ts"

interface Held {
  readonly principal: Principal
  readonly untilMs: number
}

export class Tokens {
  readonly #identity: Identity["Service"]
  readonly #held = new Kept<Held>(Queries.tokensKeptMax)

  constructor(identity: Identity["Service"]) {
    this.#identity = identity
  }

  /** At once, when the token was verified a moment ago. */
  known(token: string): Principal | null {
    const held = this.#held.get(keyOf(token))
    return held !== undefined && held.untilMs > Date.now() ? held.principal : null
  }

  verify(token: string) {
    return this.#identity.verify(Redacted.make(token)).pipe(
      Effect.map(({ expiresAtSeconds, principal }) => {
        const untilMs = Math.min(expiresAtSeconds * 1000, Date.now() + Duration.toMillis(Queries.tokenKeptFor))
        this.#held.set(keyOf(token), { principal, untilMs })
        return principal
      })
    )
  }
}

const keyOf = (token: string): string => createHash("sha256").update(token).digest("base64")

/** RFC 6750: the scheme is written in any case. */
export const bearerOf = (authorization: string | undefined): string | null => {
  const [, token] = /^bearer +(\S+)$/i.exec(authorization ?? "") ?? []
  return token ?? null
}
