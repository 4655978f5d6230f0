// Bounded text. Lengths are in UTF-16 code units, as browsers count them, and stand on the encoded side so that OpenAPI shows
// them. Control characters other than tab and line breaks are refused: PostgreSQL cannot store NUL, and the rest only serves
// to deceive a reader. Half of a surrogate pair is no character at all, and PostgreSQL's jsonb refuses it.
import { Schema } from "effect"

// biome-ignore lint/suspicious/noControlCharactersInRegex: the point is to refuse them
const printable = /^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: the point is to refuse them
const printableLine = /^[^\u0000-\u001f\u007f\u2028\u2029]*[^\s\u0000-\u001f\u007f][^\u0000-\u001f\u007f\u2028\u2029]*$/

const isWellFormed = Schema.makeFilter((text: string) => text.isWellFormed(), {
  expected: "text without halves of surrogate pairs"
})

/** One line with at least one visible character. */
export const Line = (lengthMax: number) =>
  Schema.String.check(
    Schema.isBetweenLength(1, lengthMax),
    Schema.isPattern(printableLine, { expected: "one line of text without control characters" }),
    isWellFormed
  )

/** Several lines with at least one character. */
export const Body = Schema.String.check(
  Schema.isBetweenLength(1, 65_536),
  Schema.isPattern(printable, { expected: "text without control characters" }),
  isWellFormed
)

export const Subject = Line(200)
export const FileName = Line(255)
