// What counts as passed: only a test that ran and passed.
import { describe, expect, it } from "vitest"
import { readVitestReport } from "../src/VitestReport.ts"

const file = (name: string, status: string, assertionResults: ReadonlyArray<object>, message = "") => ({
  name,
  status,
  message,
  assertionResults
})
const test = (fullName: string, status: string, failureMessages: ReadonlyArray<string> = []) => ({
  fullName,
  status,
  failureMessages
})
const report = (...testResults: ReadonlyArray<object>) => JSON.stringify({ testResults })

describe("a vitest report", () => {
  it("counts the passed tests of all files", () => {
    const text = report(file("a", "passed", [test("1", "passed")]), file("b", "passed", [test("2", "passed")]))
    expect(readVitestReport("unit", text, 0)).toEqual({ passed: 2, failures: [] })
  })

  it("names a failed test with its file and error", () => {
    const text = report(file("a", "failed", [test("1", "passed"), test("2", "failed", ["expected 1", "at x"])]))
    expect(readVitestReport("unit", text, 1)).toEqual({
      passed: 1,
      failures: [{ name: "a: 2", message: "expected 1\nat x" }]
    })
  })

  it("counts a skipped test as failed", () => {
    const outcome = readVitestReport(
      "unit",
      report(file("a", "passed", [test("1", "passed"), test("2", "skipped")])),
      0
    )
    expect(outcome.passed).toBe(1)
    expect(outcome.failures.map(({ name }) => name)).toEqual(["a: 2"])
  })

  it("counts a file that could not be loaded as one failure", () => {
    const outcome = readVitestReport("unit", report(file("a", "failed", [], "no such module")), 1)
    expect(outcome).toEqual({ passed: 0, failures: [{ name: "a", message: "no such module" }] })
  })

  it("reports the file beside its skipped tests when its setup failed", () => {
    const outcome = readVitestReport("unit", report(file("a", "failed", [test("1", "skipped")], "no server")), 1)
    expect(outcome.failures.map(({ message }) => message)).toContain("no server")
  })

  it("fails when vitest failed although every test passed", () => {
    const outcome = readVitestReport("unit", report(file("a", "passed", [test("1", "passed")])), 1)
    expect(outcome.passed).toBe(1)
    expect(outcome.failures).toHaveLength(1)
  })

  it.each([
    ["no test", report()],
    ["no report", ""],
    ["an unreadable report", "{"]
  ])("fails on %s", (_, text) => {
    expect(readVitestReport("unit", text, 0).failures).toHaveLength(1)
  })
})
