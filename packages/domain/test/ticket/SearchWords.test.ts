// Words are found however they were written; a highlight loses nothing of the text it shows.
import { describe, expect, it } from "vitest"
import { allWords, highlight, wordsOf } from "../../src/ticket/SearchWords.ts"

describe("words", () => {
  it("are without case, accents and punctuation, in any script", () => {
    expect(allWords("Drücker: ÉCLAIR's принтер 打印机 #42")).toEqual([
      "drucker",
      "eclair",
      "s",
      "принтер",
      "打印机",
      "42"
    ])
  })

  it("are distinct and bounded in number and length where an index wants them", () => {
    expect(wordsOf("b a b c", 2)).toEqual(["b", "a"])
    expect(wordsOf("x".repeat(100), 5)[0]).toHaveLength(40)
    expect(wordsOf(" --- ", 5)).toEqual([])
  })
})

describe("a highlight", () => {
  it("marks the words that begin as asked, as they were written", () => {
    expect(highlight("The Drückers, again", ["drucker"], 100)).toEqual([
      { text: "The ", matched: false },
      { text: "Drückers", matched: true },
      { text: ", again", matched: false }
    ])
  })

  it("shows the part around the first match of a long text", () => {
    const text = `${"filler ".repeat(100)}printer ${"filler ".repeat(100)}`
    const segments = highlight(text, ["printer"], 60)
    expect(segments.some((one) => one.matched && one.text === "printer")).toBe(true)
    expect(segments.map((one) => one.text).join("").length).toBeLessThanOrEqual(60)
    expect(text).toContain(segments.map((one) => one.text).join(""))
  })

  it("shows the beginning when nothing matches", () => {
    expect(highlight("nothing here", ["x"], 7)).toEqual([{ text: "nothing", matched: false }])
  })
})
