// The figures of a drill, judged. Promises are about what happens and hold on any machine; bars are about time and memory, and depend on
// the machine that the drill ran on. Pure.
import { Drill } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import type { Found } from "./Audit.ts"
import { expectationsFor, type Owed } from "./Expectations.ts"
import type { DrillFigures, PathFigures } from "./Figures.ts"
import { type Path, paths } from "./Tally.ts"

export interface Judgement {
  readonly kind: "promise" | "bar"
  readonly promise: string
  readonly measured: string
  readonly held: boolean
}

export const verdict = (figures: DrillFigures): ReadonlyArray<Judgement> => [
  ...paths.flatMap((path) => ofPath(figures, path)),
  ...afterwards(figures),
  ...ofCommands(figures),
  ...ofLog(figures),
  ...ofFiles(figures),
  ...bars(figures)
]

const promised = (promise: string, held: boolean, measured: string): Judgement => ({
  ...{ kind: "promise", promise, held, measured }
})
const bar = (promise: string, held: boolean, measured: string): Judgement => ({
  ...{ kind: "bar", promise, held, measured }
})

const sentences: Readonly<Record<Owed, string>> = {
  answered: "every one is answered",
  refused: "every one is answered or refused in plain words",
  kept: "sockets stay open",
  cut: "they work again afterwards",
  late: "nothing that was caused is forgotten"
}

const ofPath = (figures: DrillFigures, path: Path): ReadonlyArray<Judgement> => {
  const owed = expectationsFor(figures.dependency)[path]
  const { healthy, outage, recovery } = figures.paths[path]
  const all = [healthy, outage, recovery]
  if (all.every(({ sent }) => sent === 0)) return []
  const promise = `${path}: ${sentences[owed]}`
  if (owed === "late") {
    const forgotten = all.reduce((sum, { counts }) => sum + counts.failed, figures.awaited)
    return [
      promised(promise, forgotten === 0, `${forgotten} of ${sum(all, ({ sent }) => sent) + figures.awaited} forgotten`)
    ]
  }
  if (owed === "cut") return [promised(promise, recovery.counts.live + recovery.counts.cached > 0, countsIn(recovery))]
  const wrong = (one: PathFigures) =>
    owed === "refused" ? one.counts.failed : one.sent - one.counts.live - one.counts.cached
  return [promised(promise, sum(all, wrong) === 0, countsIn(outage, recovery))]
}

const sum = <A>(all: ReadonlyArray<A>, of: (one: A) => number): number => all.reduce((total, one) => total + of(one), 0)

const countsIn = (...all: ReadonlyArray<PathFigures>): string => {
  const names = ["live", "cached", "refused", "unknown", "failed"] as const
  const told = names.flatMap((name) => {
    const count = sum(all, ({ counts }) => counts[name])
    return count === 0 ? [] : [`${count} ${name}`]
  })
  const errors = all.flatMap(({ errors }) => Object.keys(errors))
  const because = sum(all, ({ counts }) => counts.failed) > 0 ? ` (${[...new Set(errors)].slice(0, 3).join(", ")})` : ""
  return told.length === 0 ? "none was sent" : `${told.join(", ")}${because}`
}

const afterwards = ({ firstSuccess, paths: all }: DrillFigures): ReadonlyArray<Judgement> => {
  const silent = paths.filter(
    (path) => path !== "reactions" && all[path].recovery.sent > 0 && firstSuccess[path] === null
  )
  return [
    promised(
      "everything works again by itself",
      silent.length === 0,
      silent.length === 0 ? "it does" : `not: ${silent.join(", ")}`
    )
  ]
}

const none = (promise: string, { count, examples }: Found, well: string): Judgement =>
  promised(promise, count === 0, count === 0 ? well : `${count}: ${examples.slice(0, 3).join(", ")}`)

const ofCommands = ({ audit, ledger }: DrillFigures): ReadonlyArray<Judgement> => {
  const { acknowledged, doubled, lost, misquoted, undenied, unresolved } = audit.commands
  return [
    none("everything acknowledged is there", lost, `${acknowledged} of ${acknowledged}`),
    none("nothing is there twice", doubled, `0 of ${acknowledged}`),
    none("what was refused did not happen", undenied, `0 of ${ledger.refused + ledger.declined}`),
    none("answers name the version that was kept", misquoted, `${acknowledged} of ${acknowledged}`),
    none(
      "repeating tells what became of a command",
      unresolved,
      `${ledger.resolved} of ${ledger.unknown}; ${ledger.hadBeenDone} had been done`
    )
  ]
}

const ofLog = ({ audit, resyncs }: DrillFigures): ReadonlyArray<Judgement> => {
  const { feeds, log, views } = audit
  const wrong = sum(feeds, ({ doubled, missing, reordered, unexpected }) => doubled + missing + reordered + unexpected)
  return [
    promised(
      "positions have no gap",
      log.gaps === 0 && log.unpositioned === 0,
      `${log.events} events, ${log.gaps} gaps, ${log.unpositioned} without a position`
    ),
    none("each stream has its events in order", log.gapped, "no version is missing"),
    none("positions follow each stream's order", log.reordered, "they do"),
    promised("nothing needs a person", log.parked === 0, `${log.parked} parked`),
    promised("the views have all of the log", views.behind === 0, `${views.behind} behind`),
    none("the views are what the log says", views.differing, "they are"),
    none("every acknowledged message can be read", views.missing, "it can"),
    promised(
      "each subscriber had each event once, in order",
      wrong === 0 && resyncs === 0,
      `${sum(feeds, ({ received }) => received)} events to ${feeds.length} subscribers, ${wrong} wrong, ${resyncs} told to read afresh`
    )
  ]
}

const ofFiles = ({ audit, ledger }: DrillFigures): ReadonlyArray<Judgement> => {
  const { accepted, doubled, lost, unfinished, wrongContent } = audit.uploads
  if (accepted === 0) return []
  return [
    none("every accepted upload is registered", lost, `${accepted} of ${accepted}`),
    none("and once", doubled, `${accepted} of ${accepted}`),
    none("with the content that was sent", wrongContent, `${accepted} of ${accepted}`),
    none("and was released or rejected", unfinished, `${accepted} of ${accepted}`),
    promised("downloads give what was promised", ledger.downloadsWrong === 0, `${ledger.downloadsWrong} wrong`)
  ]
}

const inSeconds = (ms: number | null): string => (ms === null ? "not in time" : `after ${(ms / 1000).toFixed(2)} s`)

const bars = (figures: DrillFigures): ReadonlyArray<Judgement> => {
  const catchUpMs = Duration.toMillis(Drill.catchUpMax)
  const { feedsCaughtUpMs, filesCaughtUpMs, viewsCaughtUpMs } = figures
  const within = (ms: number | null, limitMs: number) => ms !== null && ms <= limitMs
  return [
    ...(figures.dependency === "postgres" ? outageBars(figures) : []),
    bar(
      `the backlog is drained within ${catchUpMs / 1000} s`,
      within(viewsCaughtUpMs, catchUpMs),
      inSeconds(viewsCaughtUpMs)
    ),
    bar(
      `subscribers are caught up within ${catchUpMs / 1000} s`,
      within(feedsCaughtUpMs, catchUpMs),
      inSeconds(feedsCaughtUpMs)
    ),
    bar(
      `files that waited are released or rejected within ${catchUpMs / 1000} s`,
      within(filesCaughtUpMs, catchUpMs),
      inSeconds(filesCaughtUpMs)
    ),
    ...figures.memory.flatMap(({ flat, growthBytes, process }) =>
      flat === null
        ? []
        : [
            bar(
              `memory of ${process} stays flat`,
              flat,
              `${(growthBytes / 1024 ** 2).toFixed(1)} MiB between the peaks of the outage's halves`
            )
          ]
    )
  ]
}

/** A server that comes and goes, or is only slow, is there for some: these are about one that is away. */
const awayFaults = ["kill", "hang", "refuse", "lost-answer"]

const outageBars = (figures: DrillFigures): ReadonlyArray<Judgement> => {
  const { commands, queries } = figures.paths
  const firstMs = Math.max(commands.onset.refused.maxMs, 0)
  const slower =
    queries.healthy.answered.p99Ms === 0 ? 0 : queries.outage.answered.p99Ms / queries.healthy.answered.p99Ms
  const first = Duration.toMillis(Drill.firstRefusalMax)
  const p99 = Duration.toMillis(Drill.refusalP99Max)
  const recovery = Duration.toMillis(Drill.recoveryMax)
  const later = figures.refusedLater
  const success = figures.firstSuccess.commands
  const measured = `p99 ${queries.outage.answered.p99Ms} ms, before ${queries.healthy.answered.p99Ms} ms`
  return [
    bar(`reads take at most ${Drill.readSlowerMax} times as long`, slower <= Drill.readSlowerMax, measured),
    ...(awayFaults.includes(figures.fault)
      ? [
          bar(`the first writes are refused within ${first / 1000} s`, firstMs <= first, `slowest ${firstMs} ms`),
          bar(
            `later ones within ${p99} ms (p99)`,
            later.count === 0 || later.p99Ms <= p99,
            later.count === 0
              ? "none was refused"
              : `p99 ${later.p99Ms} ms of ${later.count}, slowest ${later.maxMs} ms`
          )
        ]
      : []),
    bar(`a write is accepted within ${recovery / 1000} s`, success !== null && success <= recovery, inSeconds(success))
  ]
}
