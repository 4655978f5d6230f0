// `holdfast drill <dependency> --fault kill --for 60s`: breaks one thing on purpose under the load of real clients, and says what they felt and
// which promises held. `holdfast drill all` does everything that can be broken on this desk, one after the other, and the long outage of
// PostgreSQL at the end. Exit code 0 only when all held; 4: a promise was broken; 5: only a bar of time or memory was missed.
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Drill as Limits } from "@holdfast/resilience/Limits"
import { Console, Duration, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { DrillFigures } from "../drill/Figures.ts"
import { makeShow, type Showing } from "../drill/Live.ts"
import { reportMarkdown } from "../drill/Report.ts"
import { type DrillOrder, runDrill } from "../drill/RunDrill.ts"
import { type Summarised, summaryCells, summaryHead, summaryMarkdown } from "../drill/Summary.ts"
import { type Judgement, verdict } from "../drill/Verdict.ts"
import { commandApi, fileGateway, queryApi, realtimeGateway } from "../Fleet.ts"
import { ExitCode, refuse } from "../Refusal.ts"
import { readSettings, type Settings } from "../Settings.ts"
import { baseUrl } from "../supervisor/Addresses.ts"
import { askPossible, controlPath } from "../supervisor/Control.ts"
import { dataFolderAt } from "../supervisor/DataFolder.ts"
import { prepareKeys } from "../supervisor/Keys.ts"
import { Fault, impossible, type PossibleOutage } from "../supervisor/Outage.ts"
import { table } from "../Table.ts"
import { deskDatabaseUrl } from "./DeskDatabase.ts"
import { secondsOf } from "./Lifetime.ts"
import { json } from "./Up.ts"

const what = Argument.String("dependency").pipe(
  Argument.withDescription("What to break: postgres, redis, a process such as query-api; or all")
)
const fault = Flag.Literals("fault", Fault.literals).pipe(
  Flag.withDescription(
    "kill: as a power cut. hang: accepts and never answers. refuse: connections are refused. slow: 2 s late. flap: away for 3 s, there for 3 s. lost-answer: done, and the answer lost"
  ),
  Flag.withDefault("kill")
)
const lasting = Flag.String("for").pipe(
  Flag.withDescription(
    "How long, such as 60s or 5m, at most 10m. Of `all`: the long outage at the end, 10m unless given"
  ),
  Flag.optional
)
const load = Flag.Int("load").pipe(Flag.withDescription("Requests a second in all"), Flag.withDefault(20))
const report = Flag.String("report").pipe(Flag.withDescription("The folder for the report"), Flag.optional)
const quick = Flag.Boolean("quick").pipe(
  Flag.withDescription("Of `all`: each fault for some seconds only, and a short outage at the end"),
  Flag.withDefault(false)
)
const yes = Flag.Boolean("yes").pipe(
  Flag.withDescription("Yes, write drill tickets into this desk although its database is not the embedded one"),
  Flag.withDefault(false)
)

interface Options {
  readonly json: boolean
  readonly what: string
  readonly fault: Fault
  readonly lasting: Option.Option<string>
  readonly load: number
  readonly report: Option.Option<string>
  readonly quick: boolean
  readonly yes: boolean
}

export const drill = Command.make(
  "drill",
  { json, what, fault, lasting, load, report, quick, yes },
  Effect.fn("holdfast.drill")(function* (options) {
    if (options.load < 1 || options.load > Limits.loadMax) {
      return yield* refuse(`A load is from 1 to ${Limits.loadMax} requests a second.`)
    }
    const desk = yield* findDesk(options)
    yield* options.what === "all" ? drillAll(options, desk) : drillOne(options, desk)
  })
).pipe(Command.withDescription("Break something on purpose, under load, and see what users feel"))

type Found = Omit<DrillOrder, "outage" | "seconds" | "baseline" | "folder" | "show"> & {
  readonly possible: ReadonlyArray<PossibleOutage>
  readonly folders: string
}

const findDesk = Effect.fnUntraced(function* (options: Options) {
  const settings = yield* readSettings
  const folder = dataFolderAt(settings.dataDir)
  const control = controlPath(folder.run)
  const possible = yield* askPossible(control)
  const { tokens } = yield* prepareKeys(folder, settings)
  if (tokens === undefined)
    return yield* refuse("A drill needs tokens, and this desk's come from the issuer behind HOLDFAST_JWKS.")
  if (Option.isSome(settings.databaseUrl) && !options.yes) {
    return yield* refuse(
      "A drill opens tickets, as people named drill-agent and drill-customer, and this desk's database is a server of yours: say --yes when that may be."
    )
  }
  const databaseUrl = yield* deskDatabaseUrl(settings)
  const readDatabaseUrl = Option.getOrElse(settings.readDatabaseUrl, () => databaseUrl)
  return {
    ...{ control, possible, perSecond: options.load, feeds: Limits.feeds, recovery: Limits.recoveryMin },
    auditTarget: { databaseUrl, readDatabaseUrl },
    target: { ...urlsOf(settings), token: (person) => tokens.make(person, Duration.hours(12)) },
    commandLine: `holdfast ${process.argv.slice(2).join(" ")}`,
    folders: join(settings.dataDir, "drills")
  } satisfies Found
})

const urlsOf = (settings: Settings) => ({
  commandUrl: baseUrl(settings, commandApi.http),
  queryUrl: baseUrl(settings, queryApi.http),
  realtimeUrl: baseUrl(settings, realtimeGateway.http),
  fileUrl: baseUrl(settings, fileGateway.http)
})

const lengthOf = (text: string) => {
  const seconds = secondsOf(text) ?? 0
  return seconds >= 1 && seconds <= Duration.toSeconds(Limits.lengthMax)
    ? Effect.succeed(seconds)
    : Effect.fail(refuse(`${text} is not a length of a drill: say 60s or 5m, at most 10m.`))
}

/** Sortable, and good in a file's name. */
const timeName = () => new Date().toISOString().slice(0, 19).replaceAll(":", "-")

const showingFor = (options: Options): Showing => {
  if (options.json) return "json"
  return process.stdout.isTTY ? "terminal" : "lines"
}

const drillOne = Effect.fnUntraced(function* (options: Options, desk: Found) {
  const seconds = yield* lengthOf(Option.getOrElse(options.lasting, () => "60s"))
  const outage = desk.possible.find((one) => one.dependency === options.what && one.fault === options.fault)
  if (outage === undefined) return yield* refuse(impossible(desk.possible, options.what, options.fault))
  const name = `${timeName()}-${outage.dependency}-${outage.fault}`
  const folder = Option.getOrElse(options.report, () => join(desk.folders, name))
  const order = { ...desk, outage, seconds, folder, baseline: Limits.baseline, show: makeShow(showingFor(options)) }
  const { figures, judgements } = yield* drilled(order)
  yield* options.json
    ? Console.log(JSON.stringify({ report: folder, judgements }))
    : Console.log(`\n${verdictTable(judgements)}\n\nThe report is in ${folder}.`)
  return yield* concluded([{ figures, judgements }])
})

/** Run, judged, and on disk. */
const drilled = Effect.fnUntraced(function* (order: DrillOrder) {
  const figures = yield* runDrill(order)
  const judgements = verdict(figures)
  yield* writeReport(order.folder, {
    "report.md": reportMarkdown(figures, judgements),
    "report.json": `${JSON.stringify({ ...figures, judgements }, null, 2)}\n`
  })
  return { figures, judgements }
})

const writeReport = (folder: string, files: Readonly<Record<string, string>>) =>
  Effect.tryPromise({
    try: async () => {
      await mkdir(folder, { recursive: true })
      for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
    },
    catch: (cause) => refuse(`The report cannot be written to ${folder}: ${String(cause)}`)
  })

export const verdictTable = (judgements: ReadonlyArray<Judgement>): string =>
  table(
    ["", "", "promise", "measured"],
    judgements.map(({ held, kind, measured, promise }) => [held ? "held" : "MISSED", kind, promise, measured])
  )

interface Drilled {
  readonly figures: DrillFigures
  readonly judgements: ReadonlyArray<Judgement>
}

const concluded = (all: ReadonlyArray<Drilled>) => {
  const missed = all.flatMap(({ judgements }) => judgements.filter(({ held }) => !held))
  const broken = missed.filter(({ kind }) => kind === "promise")
  if (missed.length === 0) return Effect.void
  const of = all.reduce((sum, { judgements }) => sum + judgements.length, 0)
  return broken.length > 0
    ? Effect.fail(refuse(`${broken.length} promises did not hold, of ${of} things looked at.`, ExitCode.promiseBroken))
    : Effect.fail(
        refuse(`Every promise held; ${missed.length} bars of time or memory were missed.`, ExitCode.barMissed)
      )
}

/** Everything that can be broken here, then the long outage; what cannot be finished is told and does not stop the rest. */
const drillAll = Effect.fnUntraced(function* (options: Options, desk: Found) {
  const long = yield* lengthOf(Option.getOrElse(options.lasting, () => (options.quick ? "30s" : "10m")))
  const folder = Option.getOrElse(options.report, () => join(desk.folders, `${timeName()}-all`))
  const short = Duration.toSeconds(options.quick ? Limits.quickLength : Limits.shortLength)
  const planned = [
    ...desk.possible.map((outage) => ({ outage, seconds: short })),
    ...desk.possible
      .filter(({ dependency, fault: one }) => dependency === "postgres" && one === "kill")
      .map((outage) => ({ outage, seconds: long }))
  ]
  const baseline = options.quick ? Limits.baselineQuick : Limits.baseline
  const overhead = Duration.toSeconds(baseline) + Duration.toSeconds(Limits.recoveryMin) + 5
  const done: Array<Summarised> = []
  for (const [index, { outage, seconds }] of planned.entries()) {
    const left = planned.slice(index).reduce((sum, one) => sum + one.seconds + overhead, 0)
    if (!options.json) {
      yield* Console.log(
        `${index + 1} of ${planned.length}: ${outage.dependency} ${outage.fault} for ${seconds} s; some ${Math.ceil(left / 60)} minutes left`
      )
    }
    const name = `${String(index + 1).padStart(2, "0")}-${outage.dependency}-${outage.fault}-${seconds}s`
    const order = {
      ...desk,
      outage,
      seconds,
      baseline,
      folder: join(folder, name),
      show: makeShow(options.json ? "json" : process.stdout.isTTY ? "terminal" : "nothing")
    }
    const result = yield* Effect.result(drilled(order))
    done.push({ outage, seconds, result })
    if (!options.json) yield* Console.log(`  ${summaryCells({ outage, seconds, result }).at(-1)}`)
  }
  return yield* summarised(options, folder, desk.commandLine, done)
})

const summarised = Effect.fnUntraced(function* (
  options: Options,
  folder: string,
  commandLine: string,
  done: ReadonlyArray<Summarised>
) {
  const rows = done.map(summaryCells)
  const finished = done.flatMap(({ result }) => (result._tag === "Success" ? [result.success] : []))
  yield* writeReport(folder, {
    "summary.md": summaryMarkdown(commandLine, done),
    "summary.json": `${JSON.stringify(
      done.map(({ outage, result, seconds }) => ({
        ...outage,
        seconds,
        ...(result._tag === "Success"
          ? { judgements: result.success.judgements }
          : { unfinished: result.failure.sentence })
      })),
      null,
      2
    )}\n`
  })
  yield* options.json
    ? Console.log(JSON.stringify({ report: folder }))
    : Console.log(`\n${table(summaryHead, rows)}\n\nThe reports are in ${folder}.`)
  if (finished.length < done.length)
    return yield* refuse(`${done.length - finished.length} drills could not be finished.`)
  return yield* concluded(finished)
})
