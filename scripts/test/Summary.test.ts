// How failures are shown at the end of a run.
import { describe, expect, it } from "vitest"
import { formatFailures } from "../src/Summary.ts"

describe("the summary", () => {
  it("is silent when nothing failed", () => {
    expect(formatFailures([], "/desk")).toBe("")
  })

  it("names each failure relative to the project with its error below", () => {
    const text = formatFailures([{ name: "/desk/test/a.test.ts: opens", message: "expected 1\nto be 2" }], "/desk")
    expect(text).toBe("\nFailed:\n  test/a.test.ts: opens\n      expected 1\n      to be 2\n\n")
  })

  it("leaves out the frames of other people's code", () => {
    const message = "expected\n    at task (file:///desk/node_modules/.pnpm/x.js:1:1)\n    at /desk/test/a.test.ts:7:1"
    const text = formatFailures([{ name: "a", message }], "/desk")
    expect(text).not.toContain("node_modules")
    expect(text).toContain("at /desk/test/a.test.ts:7:1")
  })

  it("bounds a long error", () => {
    const message = Array.from({ length: 100 }, (_, line) => `line ${line}`).join("\n")
    expect(formatFailures([{ name: "a", message }], "/desk")).toContain("... 88 more lines above")
  })
})
