// What is kept at hand, and what comes back.
import { expect, it } from "@effect/vitest"
import { Commands } from "@holdfast/resilience/Limits"
import { makeNumberStock } from "../src/NumberStock.ts"

const { batchesAtOnceMax } = Commands

it("takes all of what is asked or nothing", () => {
  const stock = makeNumberStock()
  expect(stock.take(1)).toBeNull()
  stock.put([1, 2])
  expect(stock.take(3)).toBeNull()
  expect(stock.take(2)).toEqual([1, 2])
})

it("gives the lowest first, whatever the order in which they came", () => {
  const stock = makeNumberStock()
  stock.put([7, 8])
  stock.put([4, 5])
  expect(stock.take(3)).toEqual([4, 5, 7])
})

it("keeps one for each batch that may be under way while tickets come one by one", () => {
  const stock = makeNumberStock()
  expect(stock.missing()).toBe(batchesAtOnceMax)
  expect(stock.missing(1)).toBe(batchesAtOnceMax + 1)
  stock.put([1, 2, 3])
  stock.take(1)
  expect(stock.missing()).toBe(Math.max(0, batchesAtOnceMax - 2))
})

it("grows with a burst, and forgets it batch by batch", () => {
  const stock = makeNumberStock()
  stock.put(Array.from({ length: 100 }, (_, index) => index))
  stock.take(16)
  expect(stock.missing(84)).toBe(16 * batchesAtOnceMax)
  for (let batch = 0; batch < 15; batch++) stock.take(1)
  expect(stock.missing(69)).toBe(batchesAtOnceMax)
})
