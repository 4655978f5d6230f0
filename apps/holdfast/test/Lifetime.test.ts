import { assert, describe, it } from "@effect/vitest"
import { secondsOf } from "../src/cli/Lifetime.ts"

describe("a length of time", () => {
  it.each([
    ["30s", 30],
    ["15m", 900],
    ["12h", 43_200],
    ["7d", 604_800]
  ])("%s is %d seconds", (text, seconds) => {
    assert.strictEqual(secondsOf(text), seconds)
  })

  it.each(["", "0s", "-1s", "1", "h", "1w", "1.5h", "400d", " 1h"])("%j is none", (text) => {
    assert.isUndefined(secondsOf(text))
  })
})
