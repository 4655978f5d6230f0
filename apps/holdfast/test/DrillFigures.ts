// The figures of a drill in which all went as it should, for tests to change.
import type { AuditFindings } from "../src/drill/Audit.ts"
import { costsOf, type DrillFigures, type PathFigures, perPath, type Times } from "../src/drill/Figures.ts"
import { memoryFigures } from "../src/drill/Memory.ts"
import { outcomes } from "../src/drill/Tally.ts"

const times = (p99Ms: number, count = 100): Times => ({
  count,
  p50Ms: p99Ms / 4,
  p90Ms: p99Ms / 2,
  p99Ms,
  maxMs: p99Ms * 2
})

export const path = (counts: Partial<PathFigures["counts"]>, p99Ms = 20): PathFigures => {
  const all = { live: 0, cached: 0, refused: 0, unknown: 0, failed: 0, ...counts }
  const sent = outcomes.reduce((sum, outcome) => sum + all[outcome], 0)
  return {
    ...{ counts: all, sent, answered: times(p99Ms, all.live + all.cached), refused: times(10, all.refused) },
    availability: sent === 0 ? 1 : (all.live + all.cached) / sent,
    errors: all.refused > 0 ? { WriteUnavailable: all.refused } : {}
  }
}

const none = { count: 0, examples: [] }

export const found: AuditFindings = {
  commands: { acknowledged: 200, lost: none, doubled: none, undenied: none, misquoted: none, unresolved: none },
  log: { events: 260, gaps: 0, unpositioned: 0, gapped: none, reordered: none, parked: 0 },
  views: { behind: 0, differing: none, missing: none },
  uploads: { accepted: 40, lost: none, doubled: none, wrongContent: none, unfinished: none },
  feeds: [
    {
      ...{ terms: { number: 1, after: 10 }, expected: 250, received: 250, missing: 0, doubled: 0 },
      ...{ reordered: 0, unexpected: 0, examples: [] }
    }
  ]
}

const well = {
  healthy: path({ live: 100 }),
  onset: path({ live: 30 }),
  outage: path({ live: 300 }),
  recovery: path({ live: 100 })
}

const paths: DrillFigures["paths"] = {
  ...perPath(() => well),
  commands: {
    healthy: path({ live: 100 }),
    onset: path({ refused: 30 }),
    outage: path({ refused: 300 }),
    recovery: path({ live: 98, refused: 2 })
  },
  queries: { ...well, onset: path({ cached: 30 }), outage: path({ cached: 300 }) }
}

const series = {
  ...{ process: "command-api", restarted: false },
  samples: Array.from({ length: 12 }, (_, index) => ({ atMs: index * 60_000, bytes: 2e8 + (index % 3) * 1e6 }))
}

export const figures: DrillFigures = {
  ...{ commandLine: "holdfast drill postgres --fault kill --for 10m", machine: "2 x processor, 8 GiB", perSecond: 20 },
  ...{ startedAt: "2026-11-23T02:00:00.000Z", dependency: "postgres", fault: "kill", means: "signal", paths },
  seconds: { healthy: 15, outage: 601, recovery: 10 },
  refusedLater: times(8, 270),
  acceptsAfterMs: 1200,
  firstError: { ...perPath(() => null), commands: 120 },
  firstSuccess: { ...perPath(() => 100), commands: 450, reactions: null },
  ...{ viewsCaughtUpMs: 900, feedsCaughtUpMs: 1100, filesCaughtUpMs: 8000 },
  ...{ settled: true, awaited: 0, socketCuts: 0, resyncs: 0 },
  ledger: {
    ...{ acknowledged: 200, refused: 302, declined: 0, unknown: 4, resolved: 4, hadBeenDone: 1, unresolved: 0 },
    ...{ uploads: 40, downloadsWrong: 0 }
  },
  audit: found,
  memory: [memoryFigures(series, { fromMs: 15_000, toMs: 616_000 })],
  memorySeries: [series],
  costs: costsOf(paths, 611 / 60)
}
