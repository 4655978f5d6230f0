// `holdfast drill postgres --for 60s`: takes the running desk's own PostgreSQL away and shows, second by second, what its users feel; then
// says which promises held. Exit code 0 only when all of them did.
import { randomUUID } from "node:crypto"
import { Drill as Limits } from "@holdfast/resilience/Limits"
import { Console, Duration, Effect, Fiber, Ref, Schedule } from "effect"
import { Command, Flag } from "effect/cli"
import {
  keepSocket,
  type Log,
  makeLog,
  openTicket,
  readAgainAndAgain,
  readTicket,
  type Target,
  writeAgainAndAgain
} from "../drill/Probes.ts"
import { secondHead, secondRow, verdictTable } from "../drill/Report.ts"
import { type Seen, verdict, type WriteSeen } from "../drill/Verdict.ts"
import { commandApi, queryApi, realtimeGateway } from "../Fleet.ts"
import { ExitCode, refuse } from "../Refusal.ts"
import { readSettings } from "../Settings.ts"
import { baseUrl } from "../supervisor/Addresses.ts"
import { askHeal, askOutage, askStates, controlPath } from "../supervisor/Control.ts"
import { dataFolderAt } from "../supervisor/DataFolder.ts"
import { prepareKeys } from "../supervisor/Keys.ts"
import { secondsOf } from "./Lifetime.ts"
import { json } from "./Up.ts"

const lasting = Flag.String("for").pipe(
  Flag.withDescription("How long, such as 60s or 5m; at most 10m"),
  Flag.withDefault("60s")
)
const fault = Flag.Literals("fault", ["kill", "hang", "refuse"]).pipe(
  Flag.withDescription("kill: as a power cut. hang: accepts and never answers. refuse: shut down in order"),
  Flag.withDefault("kill")
)

const postgres = Command.make(
  "postgres",
  { json, lasting, fault },
  Effect.fn("holdfast.drill.postgres")(function* (options) {
    const seconds = secondsOf(options.lasting) ?? 0
    if (seconds < 1 || seconds > Duration.toSeconds(Limits.lengthMax)) {
      return yield* refuse(`${options.lasting} is not a length of a drill: say 60s or 5m, at most 10m.`)
    }
    const { control, target } = yield* findDesk
    const log = yield* makeLog
    const seen = yield* Effect.scoped(rehearse({ ...options, seconds, control, target, log }))
    const promises = verdict(seen)
    yield* Console.log(options.json ? JSON.stringify({ promises, ...seen }) : `\n${verdictTable(promises)}`)
    const broken = promises.filter(({ held }) => !held)
    if (broken.length === 0) return
    return yield* refuse(`${broken.length} of ${promises.length} promises did not hold.`, ExitCode.promiseBroken)
  })
).pipe(Command.withDescription("Take the desk's own PostgreSQL away for a while"))

export const drill = Command.make("drill").pipe(
  Command.withDescription("Break something on purpose and see what users feel"),
  Command.withSubcommands([postgres])
)

const findDesk = Effect.gen(function* () {
  const settings = yield* readSettings
  const folder = dataFolderAt(settings.dataDir)
  const control = controlPath(folder.run)
  yield* askStates(control)
  const { tokens } = yield* prepareKeys(folder, settings)
  if (tokens === undefined)
    return yield* refuse("A drill needs tokens, and this desk's come from the issuer behind HOLDFAST_JWKS.")
  const target: Target = {
    commandUrl: baseUrl(settings, commandApi.http),
    queryUrl: baseUrl(settings, queryApi.http),
    realtimeUrl: baseUrl(settings, realtimeGateway.http),
    token: yield* tokens.forAdmin
  }
  return { control, target }
})

interface Rehearsal {
  readonly fault: "kill" | "hang" | "refuse"
  readonly seconds: number
  readonly json: boolean
  readonly control: string
  readonly target: Target
  readonly log: Log
}

const rehearse = (drill: Rehearsal) =>
  Effect.gen(function* () {
    const { log, target } = drill
    const ticketId = yield* firstTicket(drill)
    yield* Effect.forkScoped(readAgainAndAgain(target, log, ticketId))
    const writing = yield* Effect.forkScoped(writeAgainAndAgain(target, log))
    yield* Effect.forkScoped(keepSocket(target, log))
    yield* Effect.forkScoped(showEachSecond(drill))
    yield* Effect.sleep(Limits.baseline)
    const outageFromMs = log.nowMs()
    yield* Effect.acquireRelease(askOutage(drill.control, drill), () => askHeal(drill.control))
    yield* Effect.sleep(Duration.seconds(drill.seconds))
    const outageToMs = log.nowMs()
    yield* untilWellAgain(log, outageToMs)
    yield* Fiber.interrupt(writing)
    return yield* settle(drill, outageFromMs, outageToMs)
  })

/** All must be well before anything is broken. */
const firstTicket = ({ log, target }: Rehearsal) =>
  Effect.gen(function* () {
    const opened = yield* openTicket(target, log, randomUUID)
    if (opened.outcome !== "accepted") return yield* refuse(`The desk is not well enough for a drill: ${opened.error}.`)
    if (!(yield* untilReadable(target, opened.commandId)))
      return yield* refuse("The desk is not well enough for a drill: a new ticket cannot be read.")
    return opened.commandId
  })

const untilReadable = (target: Target, id: string) =>
  readTicket(target, id).pipe(
    Effect.map(({ source }) => source !== null),
    Effect.repeat({ until: (found) => found, schedule: Schedule.spaced("100 millis") }),
    Effect.timeoutOrElse({ duration: Limits.presentDeadline, orElse: () => Effect.succeed(false) })
  )

/** A write accepted and a read live after the end of the outage, or the longest time that recovering may take. */
const untilWellAgain = (log: Log, outageToMs: number) =>
  Effect.gen(function* () {
    const writes = yield* Ref.get(log.writes)
    const reads = yield* Ref.get(log.reads)
    const written = writes.some(({ atMs, outcome }) => atMs >= outageToMs && outcome === "accepted")
    return written && reads.some(({ atMs, source }) => atMs >= outageToMs && source === "live")
  }).pipe(
    Effect.repeat({ until: (well) => well, schedule: Schedule.spaced("100 millis") }),
    Effect.timeoutOrElse({ duration: Duration.times(Limits.recoveryMax, 2), orElse: () => Effect.succeed(false) })
  )

/** Repeats what had an unknown outcome, as every client does, and looks for everything that was acknowledged. */
const settle = (drill: Rehearsal, outageFromMs: number, outageToMs: number) =>
  Effect.gen(function* () {
    const { log, target } = drill
    const writes = yield* Ref.get(log.writes)
    const repeated = yield* Effect.forEach(
      writes.filter(({ outcome }) => outcome === "unknown"),
      ({ commandId }) => openTicket(target, log, () => commandId)
    )
    const acknowledged = [...writes, ...repeated].filter(({ outcome }) => outcome === "accepted")
    const missing = yield* Effect.filter(
      acknowledged,
      ({ commandId }) => Effect.map(untilReadable(target, commandId), (found) => !found),
      { concurrency: 4 }
    )
    return {
      reads: yield* Ref.get(log.reads),
      writes,
      socketCuts: yield* Ref.get(log.socketCuts),
      ...{ outageFromMs, outageToMs, acknowledged: acknowledged.length },
      missing: missing.map(({ commandId }: WriteSeen) => commandId)
    } satisfies Seen
  })

const showEachSecond = ({ control, json, log }: Rehearsal) =>
  json
    ? Effect.void
    : Effect.andThen(
        Console.log(secondHead),
        Effect.gen(function* () {
          const states = yield* Effect.orElseSucceed(askStates(control), () => [])
          const server = states.find(({ name }) => name === "postgresql")?.phase ?? "?"
          const cuts = yield* Ref.get(log.socketCuts)
          yield* Console.log(
            secondRow(log.nowMs(), server, yield* Ref.get(log.reads), yield* Ref.get(log.writes), cuts)
          )
        }).pipe(Effect.repeat(Schedule.spaced("1 second")))
      )
