import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import type { AuditFindings } from "../src/drill/Audit.ts"
import type { DrillFigures } from "../src/drill/Figures.ts"
import { chart, reportMarkdown } from "../src/drill/Report.ts"
import { summaryCells, summaryMarkdown } from "../src/drill/Summary.ts"
import { verdict } from "../src/drill/Verdict.ts"
import { refuse } from "../src/Refusal.ts"
import { figures, found, path } from "./DrillFigures.ts"

const missed = (change: Partial<DrillFigures>) =>
  verdict({ ...figures, ...change }).flatMap(({ held, promise }) => (held ? [] : [promise]))

const audited = (change: Partial<AuditFindings>) => missed({ audit: { ...found, ...change } })
const one = { count: 1, examples: ["x"] }

describe("the verdict on a drill", () => {
  it("is that everything held", () => {
    assert.deepStrictEqual(missed({}), [])
  })

  it.each<[string, ReadonlyArray<string>]>([
    ["everything acknowledged is there", audited({ commands: { ...found.commands, lost: one } })],
    ["nothing is there twice", audited({ commands: { ...found.commands, doubled: one } })],
    ["what was refused did not happen", audited({ commands: { ...found.commands, undenied: one } })],
    ["repeating tells what became of a command", audited({ commands: { ...found.commands, unresolved: one } })],
    ["positions have no gap", audited({ log: { ...found.log, gaps: 1 } })],
    ["positions follow each stream's order", audited({ log: { ...found.log, reordered: one } })],
    ["nothing needs a person", audited({ log: { ...found.log, parked: 1 } })],
    ["the views have all of the log", audited({ views: { ...found.views, behind: 2 } })],
    ["every accepted upload is registered", audited({ uploads: { ...found.uploads, lost: one } })],
    ["each subscriber had each event once, in order", missed({ resyncs: 1 })],
    ["reactions: nothing that was caused is forgotten", missed({ awaited: 1 })],
    ["everything works again by itself", missed({ firstSuccess: { ...figures.firstSuccess, realtime: null } })],
    ["a write is accepted within 2 s", missed({ firstSuccess: { ...figures.firstSuccess, commands: 2500 } })],
    ["the backlog is drained within 60 s", missed({ viewsCaughtUpMs: null })],
    ["later ones within 50 ms (p99)", missed({ refusedLater: { ...figures.refusedLater, p99Ms: 51 } })]
  ])("misses `%s`", (promise, all) => {
    assert.deepStrictEqual(all, [promise])
  })

  const withOutage = (name: "queries" | "commands" | "uploads", counts: Parameters<typeof path>[0]) => ({
    paths: { ...figures.paths, [name]: { ...figures.paths[name], outage: path(counts) } }
  })

  it("owes answers to readers, and to writers an answer or plain words", () => {
    assert.deepStrictEqual(missed(withOutage("queries", { cached: 99, refused: 1 })), [
      "queries: every one is answered"
    ])
    assert.deepStrictEqual(missed(withOutage("commands", { refused: 99, failed: 1 })), [
      "commands: every one is answered or refused in plain words"
    ])
    assert.deepStrictEqual(missed({ ...withOutage("commands", { refused: 1, live: 99 }), dependency: "redis" }), [
      "commands: every one is answered"
    ])
  })

  it("owes nothing to those whose own part is broken, but that they work again", () => {
    const cut = { ...withOutage("uploads", { failed: 100 }), dependency: "file-gateway", fault: "hang" }
    assert.notInclude(missed(cut).join(), "uploads")
  })

  it("is in a table of all drills, with what could not be finished", () => {
    const outage = { dependency: "postgres", fault: "kill", means: "signal" } as const
    const judged = Result.succeed({ figures, judgements: verdict({ ...figures, awaited: 1 }) })
    const [row, unfinished] = [judged, Result.fail(refuse("It did not come back."))].map((result) =>
      summaryCells({ outage, seconds: 30, result })
    )
    assert.deepStrictEqual(row?.slice(0, 6), ["postgres", "kill", "signal", "30 s", "0.000 %", "100.000 %"])
    assert.match(row?.at(-1) ?? "", /^MISSED: reactions/)
    assert.strictEqual(unfinished?.at(-1), "not finished: It did not come back.")
  })

  it("is a document that says what a year of such outages would cost", async ({ expect }) => {
    const outage = { dependency: "postgres", fault: "kill", means: "signal" } as const
    const done = [
      { outage, seconds: 30, result: Result.succeed({ figures, judgements: verdict(figures) }) },
      {
        outage: { ...outage, fault: "hang" as const },
        seconds: 30,
        result: Result.fail(refuse("It did not come back."))
      }
    ]
    const text = summaryMarkdown("holdfast drill all", done)
    await expect(text).toMatchFileSnapshot("golden/drill-summary.md")
  })
})

describe("the report of a drill", () => {
  it("is the same for the same figures", async ({ expect }) => {
    const text = reportMarkdown(figures, verdict({ ...figures, resyncs: 1 }))
    await expect(text).toMatchFileSnapshot("golden/drill-report.md")
  })

  it("draws memory as one line", () => {
    const samples = [0, 1, 2, 3, 4].map((index) => ({ atMs: index, bytes: index * 1024 ** 2 }))
    assert.match(chart({ process: "p", restarted: false, samples }), /^p {20} ▂▄▆█ +4.0 MiB$/)
  })
})
