// What counts as a line: something visible, and nothing that deceives a reader or that PostgreSQL cannot store.
import { describe, expect, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { FileName } from "../src/Text.ts"

const accepts = (text: string) => Result.isSuccess(Schema.decodeUnknownResult(FileName)(text))

describe("a line", () => {
  it.each(["a", "a b.txt", "  x", "Prüfung 東京.pdf", "😀"])("may be %j", (text) => {
    expect(accepts(text)).toBe(true)
  })

  it.each(["", " ", "\u0000", "a\u0000b", "a\u001bb", "a\nb", "\u007f", "a\u2028b", "\u2029", "a\ud83d", "\ude00b"])(
    "may not be %j",
    (text) => {
      expect(accepts(text)).toBe(false)
    }
  )
})
