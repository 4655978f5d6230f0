import { assert, describe, it } from "@effect/vitest"
import { percentile, refusalsOnceOpen, type Seen, verdict, type WriteSeen } from "../src/drill/Verdict.ts"

const write = (atMs: number, outcome: WriteSeen["outcome"], lastedMs = 5): WriteSeen => ({
  ...{ atMs, lastedMs, outcome, commandId: String(atMs) },
  error: outcome === "accepted" ? "" : "WriteUnavailable"
})

const healthy: Seen = {
  reads: [
    { atMs: 0, lastedMs: 5, source: "live" },
    { atMs: 4_000, lastedMs: 5, source: "cached" }
  ],
  writes: [
    write(0, "accepted"),
    write(3_100, "unknown", 1_200),
    write(4_300, "refused", 900),
    write(5_200, "refused", 3),
    write(6_000, "refused", 4),
    write(9_500, "refused", 4),
    write(11_000, "accepted")
  ],
  socketCuts: 0,
  outageFromMs: 3_000,
  outageToMs: 9_000,
  missing: [],
  acknowledged: 3
}

const broken = (seen: Seen) => verdict(seen).flatMap(({ held, promise }) => (held ? [] : [promise]))

describe("the verdict on a drill", () => {
  it("is that every promise held", () => {
    assert.deepStrictEqual(broken(healthy), [])
  })

  it("measures refusals from the first that came at once, during the outage only", () => {
    assert.deepStrictEqual(refusalsOnceOpen(healthy), [3, 4])
  })

  it.each<[string, Partial<Seen>]>([
    ["every read is answered", { reads: [{ atMs: 0, lastedMs: 5_000, source: null }] }],
    ["every write is accepted or refused in plain words", { writes: [...healthy.writes, write(4_000, "failed")] }],
    ["an open socket stays open", { socketCuts: 1 }],
    ["everything acknowledged is there", { missing: ["x"] }],
    ["everything acknowledged is there", { acknowledged: 0 }],
    ["writes are accepted again within 30 s", { writes: healthy.writes.slice(0, -1) }]
  ])("breaks `%s`", (promise, change) => {
    assert.deepStrictEqual(broken({ ...healthy, ...change }), [promise])
  })

  it("breaks the promise of quick refusals when they are slow", () => {
    const late = [6_200, 6_400].map((atMs) => write(atMs, "refused", 300))
    const slow = [...healthy.writes, ...late].toSorted((a, b) => a.atMs - b.atMs)
    assert.deepStrictEqual(broken({ ...healthy, writes: slow }), ["then writes are refused at once (p99 within 50 ms)"])
  })

  it("breaks both promises about refusals when nothing was refused", () => {
    const writes = [write(0, "accepted"), write(4_000, "accepted"), write(11_000, "accepted")]
    assert.lengthOf(broken({ ...healthy, writes }), 2)
  })
})

describe("a percentile", () => {
  it("is one of the values", () => {
    assert.strictEqual(percentile([3, 1, 2], 0.5), 2)
    assert.strictEqual(percentile([3, 1, 2], 1), 3)
    const hundred = Array.from({ length: 100 }, (_, index) => index)
    assert.strictEqual(percentile(hundred, 0.99), 98)
    assert.strictEqual(percentile(hundred.slice(0, 43), 0.99), 42)
    assert.isNaN(percentile([], 0.5))
  })
})
