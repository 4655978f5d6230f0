import { assert, describe, it } from "@effect/vitest"
import { table } from "../src/Table.ts"

describe("a table", () => {
  it("is as wide as its widest cells, with nothing at the end of a line", () => {
    const text = table(
      ["a", "name"],
      [
        ["1", "x"],
        ["22", "longer"]
      ]
    )
    assert.strictEqual(text, ["a   name", "--  ------", "1   x", "22  longer"].join("\n"))
  })

  it("shows a row that is too short", () => {
    assert.strictEqual(table(["a", "b"], [["1"]]), ["a  b", "-  -", "1"].join("\n"))
  })
})
