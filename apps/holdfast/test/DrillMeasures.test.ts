import { assert, describe, it } from "@effect/vitest"
import { compareSequences } from "../src/drill/AuditSequence.ts"
import { budgetMinutes, costOf } from "../src/drill/Budget.ts"
import { makeHistogram } from "../src/drill/Histogram.ts"
import { judgeCommand } from "../src/drill/LoadCommands.ts"
import { judgeQuery, makeRing } from "../src/drill/LoadWorld.ts"
import { makeMemoryWatch, memoryFigures, slopeOf } from "../src/drill/Memory.ts"
import { underWayMaxOf } from "../src/drill/Pace.ts"
import { makeTally, phaseOf } from "../src/drill/Tally.ts"
import type { Raw } from "../src/drill/Wire.ts"

async function* pages(...all: ReadonlyArray<ReadonlyArray<number>>) {
  yield* all
}

describe("two sequences compared", () => {
  const expected = [[1, 2], [5, 8], [9]]
  const wrong = async (received: ReadonlyArray<number>) => {
    const { doubled, missing, reordered, unexpected } = await compareSequences(pages(...expected), pages(received))
    return { doubled, missing, reordered, unexpected }
  }
  const nothing = { doubled: 0, missing: 0, reordered: 0, unexpected: 0 }

  it.each<[string, ReadonlyArray<number>, Partial<typeof nothing>]>([
    ["are the same", [1, 2, 5, 8, 9], {}],
    ["one is lost", [1, 2, 8, 9], { missing: 1 }],
    ["the last ones are lost", [1, 2, 5], { missing: 2 }],
    ["everything is lost", [], { missing: 5 }],
    ["one came twice", [1, 2, 5, 5, 8, 9], { doubled: 1 }],
    ["one came late", [1, 5, 2, 8, 9], { missing: 1, reordered: 1 }],
    ["one was not for this reader", [1, 2, 3, 5, 8, 9], { unexpected: 1 }],
    ["more came than there is", [1, 2, 5, 8, 9, 11], { unexpected: 1 }]
  ])("%s", async (_name, received, found) => {
    assert.deepStrictEqual(await wrong(received), { ...nothing, ...found })
  })

  it("names examples", async () => {
    const { examples } = await compareSequences(pages(...expected), pages([1, 2, 8, 9]))
    assert.deepStrictEqual(examples, ["missing: 5"])
  })
})

describe("times in a histogram", () => {
  it("have percentiles right to 2 %, and an exact slowest", () => {
    const histogram = makeHistogram()
    for (let ms = 1; ms <= 1000; ms++) histogram.record(ms)
    for (const [share, exact] of [
      [0.5, 500],
      [0.9, 900],
      [0.99, 990]
    ] as const) {
      assert.approximately(histogram.percentile(share), exact, exact * 0.021)
    }
    assert.strictEqual(histogram.percentile(1), 1000)
    assert.strictEqual(histogram.maxMs, 1000)
  })

  it("are not numbers while there are none, and the same whatever histogram counted them", () => {
    const [all, part, other] = [makeHistogram(), makeHistogram(), makeHistogram()]
    assert.isNaN(all.percentile(0.5))
    for (const ms of [3, 1, 700]) part.record(ms)
    for (const ms of [2, 90_000_000]) other.record(ms)
    all.include(part)
    all.include(other)
    assert.strictEqual(all.count, 5)
    assert.strictEqual(all.maxMs, 90_000_000)
    assert.approximately(all.percentile(0.6), 3, 0.07)
  })
})

describe("a tally", () => {
  it("gives a request to the phase in which it was due, and to the fault when it ended there", () => {
    const marks = [
      { phase: "healthy", fromMs: 0 },
      { phase: "onset", fromMs: 100 },
      { phase: "fault", fromMs: 200 },
      { phase: "recovery", fromMs: 300 }
    ] as const
    assert.strictEqual(phaseOf(marks, 10, 20), "healthy")
    assert.strictEqual(phaseOf(marks, 90, 110), "onset")
    assert.strictEqual(phaseOf(marks, 150, 250), "onset")
    assert.strictEqual(phaseOf(marks, 250, 350), "fault")
    assert.strictEqual(phaseOf(marks, 350, 360), "recovery")
  })

  it("remembers the first answer and the first error of a phase", () => {
    const tally = makeTally()
    tally.record({ path: "queries", dueMs: 0, endMs: 1, outcome: "live" })
    tally.enter("onset")
    const dueMs = tally.nowMs()
    tally.record({ path: "queries", dueMs, endMs: dueMs + 5, outcome: "failed", error: "x" })
    tally.enter("fault")
    assert.strictEqual(tally.firstUnanswered("queries"), dueMs + 5)
    assert.isUndefined(tally.firstAnswered("queries"))
  })
})

const json = (status: number, body: unknown): Raw => ({
  ...{ _tag: "Answer", status, headers: {} },
  body: Buffer.from(JSON.stringify(body))
})

describe("what a client was told", () => {
  const problem = (tag: string) => json(503, { type: `urn:holdfast:problem:${tag}` })

  it.each<[string, Raw, string, string]>([
    ["accepted", json(200, { version: 2, replayed: false }), "live", "done"],
    ["refused", problem("WriteUnavailable"), "refused", "refused"],
    ["not known", problem("OutcomeUnknown"), "unknown", "unknown"],
    ["declined by a rule", problem("TicketNotOpen"), "live", "declined"],
    ["what no client expects", problem("CommandIdReused"), "failed", "declined"],
    ["an answer without words", json(502, "gateway"), "failed", "unknown"],
    ["nothing, for nobody listened", { _tag: "None", why: "refused" }, "failed", "refused"],
    ["nothing", { _tag: "None", why: "lost" }, "failed", "unknown"]
  ])("of a command: %s", (_name, raw, outcome, told) => {
    const judged = judgeCommand(raw)
    assert.deepStrictEqual([judged.outcome, judged.told], [outcome, told])
  })

  it.each<[string, Raw, string]>([
    ["live", json(200, { data: {}, extensions: { freshness: { source: "live", position: 3 } } }), "live"],
    ["cached", json(200, { data: {}, extensions: { freshness: { source: "cached", position: 3 } } }), "cached"],
    ["refused", json(503, { errors: [{ extensions: { code: "READ_UNAVAILABLE" } }] }), "refused"],
    ["an error", json(200, { data: null, errors: [{ extensions: { code: "INTERNAL" } }] }), "failed"],
    ["silence", { _tag: "None", why: "silent" }, "failed"]
  ])("of a query: %s", (_name, raw, outcome) => {
    assert.strictEqual(judgeQuery(raw).outcome, outcome)
  })
})

describe("bounds of the load", () => {
  it("let a ring keep the newest only", () => {
    const ring = makeRing<number>(2)
    for (const one of [1, 2, 3]) ring.add(one)
    assert.strictEqual(ring.size, 2)
    assert.notStrictEqual(ring.pick(), 1)
    ring.replace(3, 4)
    ring.replace(1, 5)
    assert.include([2, 4], ring.pick())
  })

  it("let a path have some seconds of its rate under way", () => {
    assert.strictEqual(underWayMaxOf(0.5), 32)
    assert.strictEqual(underWayMaxOf(100), 600)
    assert.strictEqual(underWayMaxOf(5000), 1024)
  })
})

describe("the cost of an outage", () => {
  it("is the share of what was not answered, against 8.64 minutes a month", () => {
    assert.approximately(budgetMinutes, 8.64, 1e-9)
    const writing = costOf("commands", 1000, 100, 10)
    assert.approximately(writing.lostMinutes, 9, 1e-9)
    assert.include(writing.words, "104 % of a month's budget: more than the month allows")
    assert.strictEqual(costOf("queries", 1000, 1000, 10).words, "cost nothing")
    assert.include(costOf("queries", 100_000, 99_999, 10).words, "less than a hundredth")
  })
})

describe("memory", () => {
  const minute = 60_000
  const line = (bytesPerMinute: number) =>
    Array.from({ length: 13 }, (_, index) => ({ atMs: index * minute, bytes: 2e8 + index * bytesPerMinute }))
  const flatness = (bytesPerMinute: number, restarted = false, toMs = 11 * minute) =>
    memoryFigures({ process: "p", restarted, samples: line(bytesPerMinute) }, { fromMs: minute, toMs }).flat

  it("is flat when it hardly grows, and grows when it does", () => {
    assert.approximately(slopeOf(line(6e6)), 100, 1e-6)
    assert.isTrue(flatness(1e6))
    assert.isFalse(flatness(1e7))
  })

  it("is flat when it climbs and is swept, wherever the outage begins", () => {
    const samples = Array.from({ length: 61 }, (_, index) => ({ atMs: index * minute, bytes: 2e8 + (index % 9) * 1e7 }))
    for (let begins = 1; begins < 20; begins++) {
      const outage = { fromMs: begins * minute, toMs: (begins + 25) * minute }
      assert.isTrue(memoryFigures({ process: "p", restarted: false, samples }, outage).flat)
    }
  })

  it("is not judged of a process that was started again, nor in a short outage", () => {
    assert.isNull(flatness(1e7, true))
    assert.isNull(flatness(1e7, false, 3 * minute))
  })

  it("is sampled in a bounded number of places", () => {
    const watch = makeMemoryWatch(() => 1)
    for (let atMs = 0; atMs < 10_000; atMs++) watch.sample(atMs, [{ name: "p", pid: 7 }])
    const [series] = watch.series
    assert.isBelow(series?.samples.length ?? 0, 600)
    assert.isFalse(series?.restarted)
    watch.sample(10_000, [{ name: "p", pid: 8 }])
    assert.isTrue(watch.series[0]?.restarted)
  })
})
