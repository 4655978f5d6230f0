// What a bad line does to packets, on numbers alone.
import { describe, expect, it } from "@effect/vitest"
import { LinkModel, type LinkProfile, perfect } from "../src/LinkModel.ts"

const packets = 20_000
const bytes = 1000

/** All arrivals of so many packets, one every so many milliseconds. */
const sent = (profile: Partial<LinkProfile>, seed = 1, everyMs = 1) => {
  const model = new LinkModel(seed)
  model.profile = { ...perfect, ...profile }
  const arrivals = Array.from({ length: packets }, (_, index) => model.offer(bytes, index * everyMs))
  return { model, arrivals, all: arrivals.flat() }
}

const isOrdered = (arrivals: ReadonlyArray<{ readonly atMs: number }>) =>
  arrivals.every(({ atMs }, index) => atMs >= (arrivals[index - 1]?.atMs ?? 0))

describe("a line", () => {
  it("without faults changes nothing", () => {
    const { all, model } = sent({})
    expect(all.every(({ atMs, turnedBit }, index) => atMs === index && turnedBit === null)).toBe(true)
    expect(model.counts).toMatchObject({ offered: packets, delivered: packets, lost: 0, bytes: packets * bytes })
  })

  it("does the same again with the same seed, and something else with another", () => {
    const bad = { delayMs: 20, jitterMs: 10, loss: 0.1, duplicate: 0.1, reorder: 0.1, corrupt: 0.1 }
    expect(sent(bad, 7).arrivals).toEqual(sent(bad, 7).arrivals)
    expect(sent(bad, 7).arrivals).not.toEqual(sent(bad, 8).arrivals)
  })

  it("delays by what was asked, between it and the jitter, and in order", () => {
    const { all } = sent({ delayMs: 100, jitterMs: 50 })
    const delays = all.map(({ atMs }, index) => atMs - index)
    expect(Math.min(...delays)).toBeGreaterThanOrEqual(100)
    expect(Math.max(...delays)).toBeLessThan(150)
    expect(isOrdered(all)).toBe(true)
  })

  it("loses, duplicates and damages the share that was asked", () => {
    const { model } = sent({ loss: 0.05, duplicate: 0.02, corrupt: 0.01 })
    expect(model.counts.lost / packets).toBeCloseTo(0.05, 2)
    expect(model.counts.duplicated / packets).toBeCloseTo(0.02, 2)
    expect(model.counts.corrupted / packets).toBeCloseTo(0.01, 2)
  })

  it("loses in bursts as long as was asked", () => {
    const { arrivals, model } = sent({ burst: { begin: 0.01, end: 0.2 } })
    const bursts = arrivals.filter((one, index) => one.length === 0 && arrivals[index - 1]?.length !== 0).length
    expect(model.counts.lostInBurst / bursts).toBeCloseTo(5, 0)
  })

  it("lets later packets overtake", () => {
    const { all, model } = sent({ reorder: 0.1, reorderDelayMs: 5 })
    expect(isOrdered(all)).toBe(false)
    expect(model.counts.reordered).toBeGreaterThan(0)
  })

  it("carries no more than its rate, and loses what the queue cannot hold", () => {
    const { all, model } = sent({ bitsPerSecond: 4_000_000, queueBytesMax: 10_000 })
    const seconds = (all.at(-1)?.atMs ?? 0) / 1000
    expect((model.counts.bytes * 8) / seconds).toBeCloseTo(4_000_000, -5)
    expect(model.counts.overflowed).toBeGreaterThan(packets / 3)
    const waits = all.map(({ atMs }) => atMs)
    expect(isOrdered(waits.map((atMs) => ({ atMs })))).toBe(true)
  })

  it("delivers nothing while it is cut, and goes on after", () => {
    const model = new LinkModel(1)
    model.isCut = true
    expect(model.offer(bytes, 0)).toEqual([])
    model.isCut = false
    expect(model.offer(bytes, 1)).toHaveLength(1)
    expect(model.counts).toMatchObject({ cut: 1, delivered: 1 })
  })
})
