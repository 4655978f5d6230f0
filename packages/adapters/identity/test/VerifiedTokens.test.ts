// The memory of verified tokens is bounded and never outlives a token or its key.
import { expect, it } from "@effect/vitest"
import { PrincipalId } from "@holdfast/contracts/Ids"
import { makeVerifiedTokens } from "../src/VerifiedTokens.ts"

const verified = (expiresAtSeconds: number) => ({
  principal: { id: PrincipalId.make("ada"), role: "agent" } as const,
  expiresAtSeconds
})

it("holds no more than it may, and lets go of the one used longest ago", () => {
  const tokens = makeVerifiedTokens(3)
  for (const token of ["a", "b", "c"]) tokens.keep(token, verified(100))
  tokens.find("a", 0)
  tokens.keep("d", verified(100))
  expect(tokens.size()).toBe(3)
  expect(["a", "b", "c", "d"].filter((token) => tokens.find(token, 0) !== undefined)).toEqual(["a", "c", "d"])
})

it("forgets a token when it ends, and all of them when the keys change", () => {
  const tokens = makeVerifiedTokens(3)
  tokens.keep("a", verified(100))
  expect(tokens.find("a", 99)).toBeDefined()
  expect(tokens.find("a", 100)).toBeUndefined()
  expect(tokens.size()).toBe(0)
  tokens.keep("a", verified(100))
  tokens.forget()
  expect(tokens.find("a", 0)).toBeUndefined()
})
