import { describe, expect, it } from "@effect/vitest"
import { deriveCommandId } from "../src/DerivedId.ts"

describe("a derived command id", () => {
  it("is the same for the same parts, and a UUIDv8", () => {
    expect(deriveCommandId("rule", "event")).toBe(deriveCommandId("rule", "event"))
    expect(deriveCommandId("rule", "event")).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
    )
  })

  it("differs as soon as a part differs, also where the parts run together alike", () => {
    const ids = [
      deriveCommandId("ab", "c"),
      deriveCommandId("a", "bc"),
      deriveCommandId("abc"),
      deriveCommandId("ab", "c", "")
    ]
    expect(new Set(ids).size).toBe(4)
  })
})
