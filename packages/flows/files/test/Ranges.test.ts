// What a Range header asks for, held to a model that marks byte after byte.
import { describe, expect, it } from "@effect/vitest"
import { Files } from "@holdfast/resilience/Limits"
import { Schema } from "effect"
import { rangesOf } from "../src/Ranges.ts"

describe("a range", () => {
  it.each([
    ["bytes=0-0", [[0, 0]]],
    ["bytes=0-", [[0, 999]]],
    ["bytes=500-600", [[500, 600]]],
    ["bytes=990-5000", [[990, 999]]],
    ["bytes=-1", [[999, 999]]],
    ["bytes=-5000", [[0, 999]]],
    ["BYTES=1-2", [[1, 2]]],
    ["bytes= 1-2 ,\t", [[1, 2]]],
    [`bytes=0-${"9".repeat(400)}`, [[0, 999]]]
  ])("that is there: %s", (header, expected) => {
    expect(rangesOf(header, 1000)).toEqual(expected.map(([start, end]) => ({ start, end })))
  })

  it.each(["bytes=1000-", "bytes=1000-2000", "bytes=-0", `bytes=${"9".repeat(400)}-`, "bytes=1000-,-0"])(
    "of which nothing is there: %s",
    (header) => {
      expect(rangesOf(header, 1000)).toBe("unsatisfiable")
    }
  )

  it.each([
    "",
    "bytes",
    "bytes=",
    "bytes=,",
    "bytes=-",
    "bytes=2-1",
    "bytes=1-2,4-3",
    "bytes=a-b",
    "bytes=1-2;3-4",
    "bytes=+1-2",
    "bytes=1 - 2",
    "bytes=1-2-3",
    "bytes 1-2",
    "items=1-2",
    "bytes=0x1-0x2",
    "bytes=１-２"
  ])("that is not valid is as if nothing had been said: %j", (header) => {
    expect(rangesOf(header, 1000)).toBe("whole")
  })

  it("of an empty content is there only as its last so many bytes", () => {
    expect(rangesOf("bytes=0-", 0)).toBe("unsatisfiable")
    expect(rangesOf("bytes=-0", 0)).toBe("unsatisfiable")
    expect(rangesOf("bytes=-5", 0)).toBe("whole")
  })
})

describe("several ranges", () => {
  it("come in the order in which they were asked for, without those of which nothing is there", () => {
    expect(rangesOf("bytes=900-909,5000-,0-9,-1", 1000)).toEqual([
      { start: 900, end: 909 },
      { start: 0, end: 9 },
      { start: 999, end: 999 }
    ])
  })

  it("that overlap or nearly touch become one, at the place of the first", () => {
    expect(rangesOf("bytes=500-600,0-9,590-700,5-20", 1000)).toEqual([
      { start: 500, end: 700 },
      { start: 0, end: 20 }
    ])
    expect(rangesOf("bytes=0-9,20-29", 1000)).toEqual([{ start: 0, end: 29 }])
  })

  it("that grow together through a third one become one", () => {
    expect(rangesOf("bytes=0-9,400-409,800-809,10-799", 1000)).toEqual([{ start: 0, end: 809 }])
  })

  it("that are more than anybody honest asks for get the whole", () => {
    const many = (count: number) =>
      `bytes=${Array.from({ length: count }, (_, at) => `${at * 200}-${at * 200}`).join(",")}`
    expect(rangesOf(many(Files.downloadRangesMax), 100_000)).toHaveLength(Files.downloadRangesMax)
    expect(rangesOf(many(Files.downloadRangesMax + 1), 100_000)).toBe("whole")
  })
})

const below = (max: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: max }))
const Asked = Schema.Struct({
  sizeBytes: below(600),
  specs: Schema.Array(Schema.Struct({ first: Schema.NullOr(below(700)), last: Schema.NullOr(below(700)) })).check(
    Schema.isMinLength(1),
    Schema.isMaxLength(8)
  )
})

/** Byte after byte: those that some range asks for; null where a range is no range. */
const model = ({ sizeBytes, specs }: typeof Asked.Type): ReadonlySet<number> | null => {
  const bytes = new Set<number>()
  for (const { first, last } of specs) {
    if (first === null && last === null) return null
    if (first !== null && last !== null && last < first) return null
    for (let at = 0; at < sizeBytes; at++) {
      const isAsked = first === null ? at >= sizeBytes - (last ?? 0) : at >= first && (last === null || at <= last)
      if (isAsked) bytes.add(at)
    }
  }
  return bytes
}

it.prop(
  "whatever is asked: every byte that was asked for comes once, others only in small gaps, and no part lies outside",
  [Asked],
  ([asked]) => {
    const header = `bytes=${asked.specs.map(({ first, last }) => `${first ?? ""}-${last ?? ""}`).join(", ")}`
    const wanted = rangesOf(header, asked.sizeBytes)
    const expected = model(asked)
    if (expected === null) return expect(wanted).toBe("whole")
    if (asked.sizeBytes === 0) return expect(["whole", "unsatisfiable"]).toContain(wanted)
    if (expected.size === 0) return expect(wanted).toBe("unsatisfiable")
    const parts = typeof wanted === "string" ? [] : wanted
    const sent = parts.flatMap(({ end, start }) => Array.from({ length: end - start + 1 }, (_, at) => start + at))
    expect(new Set(sent).size).toBe(sent.length)
    for (const at of expected) expect(sent).toContain(at)
    for (const { end, start } of parts) {
      expect([expected.has(start), expected.has(end), start >= 0, end < asked.sizeBytes]).toEqual([
        true,
        true,
        true,
        true
      ])
      for (const other of parts) if (other.start > end) expect(other.start - end).toBeGreaterThan(80)
    }
    return undefined
  },
  { arbitrary: { runs: 500 } }
)

it.prop("whatever text is sent, it is answered", [Schema.String], ([text]) => {
  for (const header of [text, `bytes=${text}`]) {
    const wanted = rangesOf(header, 1000)
    expect(typeof wanted === "string" || wanted.length > 0).toBe(true)
  }
})
