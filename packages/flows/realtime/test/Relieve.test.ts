import { describe, expect, it } from "@effect/vitest"
import { relieve } from "../src/Relieve.ts"

const cutOf = (held: ReadonlyArray<number>, bytesMax: number): ReadonlyArray<number> => {
  const cut: Array<number> = []
  relieve(
    held.map((bufferedBytes) => ({ bufferedBytes, terminate: () => void cut.push(bufferedBytes) })),
    bytesMax
  )
  return cut
}

describe("relieve", () => {
  it("cuts nobody while all together hold no more than the bound", () => {
    expect(cutOf([40, 0, 60], 100)).toEqual([])
  })

  it("cuts those that hold the most, down to half of the bound, and never one that takes what it is sent", () => {
    expect(cutOf([10, 50, 0, 30, 20], 100)).toEqual([50, 30])
    expect(cutOf([0, 0, 300], 100)).toEqual([300])
  })
})
