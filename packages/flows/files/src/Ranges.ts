// Which parts of a content a `Range` header asks for (RFC 9110, section 14). What is not a valid set of byte ranges is as if it had not been
// said, and so is a set of more ranges than anybody honest asks for: the answer is then the whole. Ranges that overlap or nearly touch become
// one, so no byte is sent twice and no answer is much larger than the content, whatever is asked.
import { Files } from "@holdfast/resilience/Limits"
import type { ByteRange } from "@holdfast/storage/BlobStore"

/** The whole, or parts in the order in which they were asked for, or nothing that there is. */
export type Wanted = "whole" | "unsatisfiable" | ReadonlyArray<ByteRange>

export const rangesOf = (header: string, sizeBytes: number): Wanted => {
  const specs = specsOf(header)
  if (specs === null || specs.length > Files.downloadRangesMax) return "whole"
  // Of nothing, the last so many bytes are nothing: there is such a part, and no way to say where it is.
  if (sizeBytes === 0) return specs.some(({ first, last }) => first === null && last !== 0) ? "whole" : "unsatisfiable"
  const parts = specs.flatMap((spec) => partOf(spec, sizeBytes))
  return parts.length === 0 ? "unsatisfiable" : coalesced(parts)
}

/** `first` null: the last so many bytes. `last` null: to the end. */
interface Spec {
  readonly first: number | null
  readonly last: number | null
}

/** Null where the header is not valid, or of another unit. Empty members of the list are allowed, an empty list is not. */
const specsOf = (header: string): ReadonlyArray<Spec> | null => {
  const [, set] = /^[ \t]*bytes=(.*)$/i.exec(header) ?? []
  const members = (set ?? "").split(",").map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ""))
  const specs: Array<Spec> = []
  for (const member of members) {
    if (member === "") continue
    const [, first, last] = /^([0-9]*)-([0-9]*)$/.exec(member) ?? []
    if (first === undefined || last === undefined || (first === "" && last === "")) return null
    const spec = { first: numberOf(first), last: numberOf(last) }
    if (spec.first !== null && spec.last !== null && spec.last < spec.first) return null
    specs.push(spec)
  }
  return specs.length === 0 ? null : specs
}

/** Too long to be exact means far beyond any end, which is all that matters then. */
const numberOf = (digits: string): number | null => (digits === "" ? null : Number(digits))

const partOf = ({ first, last }: Spec, sizeBytes: number): ReadonlyArray<ByteRange> => {
  if (first === null) {
    const length = Math.min(last ?? 0, sizeBytes)
    return length === 0 ? [] : [{ start: sizeBytes - length, end: sizeBytes - 1 }]
  }
  return first < sizeBytes ? [{ start: first, end: Math.min(last ?? sizeBytes - 1, sizeBytes - 1) }] : []
}

/** A gap that is smaller than the headers of another part is sent along. */
const gapBytesMax = 80

/** Each stands where the first of those that it is made of was asked for. */
const coalesced = (parts: ReadonlyArray<ByteRange>): ReadonlyArray<ByteRange> => {
  let separate: ReadonlyArray<Placed> = []
  for (const [place, part] of parts.entries()) {
    let merged: Placed = { ...part, place }
    // What has grown may reach others than before.
    for (;;) {
      const near = separate.filter((one) => isNear(one, merged))
      if (near.length === 0) break
      separate = separate.filter((one) => !near.includes(one))
      merged = near.reduce(joined, merged)
    }
    separate = [...separate, merged]
  }
  return [...separate].sort((a, b) => a.place - b.place).map(({ end, start }) => ({ start, end }))
}

interface Placed extends ByteRange {
  readonly place: number
}

const isNear = (a: ByteRange, b: ByteRange): boolean =>
  a.start <= b.end + 1 + gapBytesMax && b.start <= a.end + 1 + gapBytesMax

const joined = (a: Placed, b: Placed): Placed => ({
  start: Math.min(a.start, b.start),
  end: Math.max(a.end, b.end),
  place: Math.min(a.place, b.place)
})
