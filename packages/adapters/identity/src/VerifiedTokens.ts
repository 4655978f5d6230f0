// Tokens that were verified a moment ago, so that a signature is checked once per token and not once per request. Bounded: the one
// used longest ago goes first. Holds hashes, never tokens.
import { hash } from "node:crypto"
import type { Verified } from "./Identity.ts"

export interface VerifiedTokens {
  find(token: string, nowSeconds: number): Verified | undefined
  keep(token: string, verified: Verified): void
  /** The keys have changed: what they verified may no longer hold. */
  forget(): void
  readonly size: () => number
}

export const makeVerifiedTokens = (tokensMax: number): VerifiedTokens => {
  const byHash = new Map<string, Verified>()
  const hashOf = (token: string) => hash("sha256", token, "base64")
  return {
    find: (token, nowSeconds) => {
      const key = hashOf(token)
      const verified = byHash.get(key)
      if (verified === undefined) return undefined
      byHash.delete(key)
      if (verified.expiresAtSeconds <= nowSeconds) return undefined
      byHash.set(key, verified)
      return verified
    },
    keep: (token, verified) => {
      byHash.set(hashOf(token), verified)
      const [oldest] = byHash.keys()
      if (byHash.size > tokensMax && oldest !== undefined) byHash.delete(oldest)
    },
    forget: () => byHash.clear(),
    size: () => byHash.size
  }
}
