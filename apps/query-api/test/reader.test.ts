// Reading anew: one at a time, and until what was heard of is there.
import { expect, it } from "vitest"
import { makeReader } from "../src/page/reader.js"

/** Gives these positions one after the other, the last one from then on; counts how many readings there were at once. */
const desk = (positions: ReadonlyArray<number | Error>) => {
  const told = { reads: 0, atOnce: 0, atOnceMax: 0 }
  const read = async () => {
    told.atOnceMax = Math.max(told.atOnceMax, ++told.atOnce)
    const position = positions[Math.min(told.reads++, positions.length - 1)] ?? 0
    await Promise.resolve()
    told.atOnce--
    if (position instanceof Error) throw position
    return position
  }
  return { read, told }
}

it("reads again until the newest change that was heard of is there", async () => {
  const { read, told } = desk([1, 2, 3])
  await makeReader(read)(3)
  expect(told.reads).toBe(3)
})

it("reads once where nothing new was heard of, and where nobody answers", async () => {
  for (const first of [7, new Error("away")]) {
    const { read, told } = desk([first])
    await makeReader(read)(first === 7 ? 0 : 9)
    expect(told.reads).toBe(1)
  }
})

it("reads one at a time, however many changes ask", async () => {
  const { read, told } = desk([1, 5])
  const reader = makeReader(read)
  await Promise.all([reader(1), reader(4), reader(5)])
  expect(told).toMatchObject({ atOnceMax: 1, reads: 2 })
})
