// Faults on purpose and for a bounded time, so that people can see what their desk does then. What the supervisor runs itself gets real
// signals; any other server gets its proxy broken, where the desk was started with one. Each heals by itself: whoever asked for it may
// be gone by then.
import { signalTree } from "@holdfast/database/embedded/ProcessTree"
import type { RunningServer } from "@holdfast/database/ServerEmbedded"
import { Drill } from "@holdfast/resilience/Limits"
import { Duration, Effect, Exit, Fiber, Ref, Schedule, Schema, Scope } from "effect"
import { breakProxies, type FaultProxies } from "./FaultProxies.ts"
import type { Keeper, KeptState } from "./Keeper.ts"

/**
 * kill: as a power cut; a process of the desk is killed again whenever it is back. hang: accepts and never answers. slow: every answer 2 s late.
 * refuse: shut down in order, connections are refused. flap: away for 3 s, there for 3 s. lost-answer: the work is done, the answer is lost.
 */
export const Fault = Schema.Literals(["kill", "hang", "slow", "refuse", "flap", "lost-answer"])
export type Fault = typeof Fault.Type

export const OutageRequest = Schema.Struct({
  dependency: Schema.String,
  fault: Fault,
  seconds: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: Duration.toSeconds(Drill.outageMax) }))
})
export type OutageRequest = typeof OutageRequest.Type

export const PossibleOutage = Schema.Struct({
  dependency: Schema.String,
  fault: Fault,
  /** signal: to the server or process itself. proxy: as its clients see it over the network. */
  means: Schema.Literals(["signal", "proxy"])
})
export type PossibleOutage = typeof PossibleOutage.Type

export class OutageRefused extends Schema.TaggedError<OutageRefused>()("OutageRefused", { sentence: Schema.String }) {}

export interface Outages {
  readonly possible: ReadonlyArray<PossibleOutage>
  readonly begin: (request: OutageRequest) => Effect.Effect<void, OutageRefused>
  /** Ends the outage before its time, and succeeds when it is over; nothing happens when there is none. */
  readonly end: Effect.Effect<void>
}

export interface Breakable {
  /** `undefined` when PostgreSQL is somebody else's. */
  readonly postgres: Keeper<RunningServer> | undefined
  /** Whether the read side is on the same server. */
  readonly sharesPostgres: boolean
  readonly copies: ReadonlyArray<{
    readonly process: string
    readonly keeper: { readonly state: Effect.Effect<KeptState> }
  }>
  readonly proxies: FaultProxies | undefined
}

/** Holds until the scope closes, and is healed then. */
type Break = Effect.Effect<void, never, Scope.Scope>
type Means = PossibleOutage & { readonly break: Break }

export const makeOutages = Effect.fnUntraced(function* (breakable: Breakable) {
  const underWay = yield* Ref.make<Fiber.Fiber<void> | undefined>(undefined)
  const all = meansOf(breakable)
  const begin = Effect.fnUntraced(function* ({ dependency, fault, seconds }: OutageRequest) {
    const means = all.find((one) => one.dependency === dependency && one.fault === fault)
    if (means === undefined) return yield* new OutageRefused({ sentence: impossible(all, dependency, fault) })
    if ((yield* Ref.get(underWay)) !== undefined) {
      return yield* new OutageRefused({ sentence: "A drill is under way already: wait for its end." })
    }
    const scope = yield* Scope.make()
    yield* Scope.provide(means.break, scope)
    const heal = Effect.andThen(Scope.close(scope, Exit.void), Ref.set(underWay, undefined))
    const outage = Effect.sleep(Duration.seconds(seconds)).pipe(Effect.ensuring(heal))
    yield* Ref.set(underWay, yield* Effect.forkDetach(outage, { startImmediately: true }))
  })
  const end = Effect.flatMap(Ref.get(underWay), (fiber) => (fiber === undefined ? Effect.void : Fiber.interrupt(fiber)))
  const possible = all.map(({ dependency, fault, means }) => ({ dependency, fault, means }))
  return { possible, begin: (request) => Effect.uninterruptible(begin(request)), end } satisfies Outages
})

/** What can be done instead. */
export const impossible = (all: ReadonlyArray<PossibleOutage>, dependency: string, fault: Fault): string => {
  const known = [...new Set(all.map((one) => one.dependency))]
  const faults = all.flatMap((one) => (one.dependency === dependency ? [one.fault] : []))
  if (faults.length > 0) {
    return `${dependency} cannot be made to ${fault} here, only to ${faults.join(", ")}: start the desk with \`holdfast up --drillable\` for more.`
  }
  if (all.some(({ means }) => means === "proxy")) {
    return `This desk runs no ${dependency} and is told of none; what can be broken here is ${known.join(", ")}.`
  }
  return `${dependency} cannot be broken from here, only ${known.join(", ")}: start the desk with \`holdfast up --drillable\`, which puts a proxy in front of every server that it is told of.`
}

/** The first of a kind is taken, so real signals come first. */
const meansOf = (breakable: Breakable): ReadonlyArray<Means> => {
  const { copies, postgres, proxies } = breakable
  const all = [
    ...(postgres === undefined ? [] : ofPostgres(breakable, postgres)),
    ...(proxies === undefined ? [] : [...proxies.byDependency.keys()].flatMap((name) => ofProxies(breakable, name))),
    ...[...new Set(copies.map(({ process }) => process))].flatMap((process) => ofProcess(breakable, process))
  ]
  return all.filter(
    ({ dependency, fault }, index) =>
      all.findIndex((one) => one.dependency === dependency && one.fault === fault) === index
  )
}

const ofPostgres = (breakable: Breakable, keeper: Keeper<RunningServer>): ReadonlyArray<Means> => {
  const one = (fault: Fault, take: (running: RunningServer) => Effect.Effect<void>, isGone: boolean): Means => ({
    ...{ dependency: "postgres", fault, means: "signal" },
    break: Effect.gen(function* () {
      // Behind a proxy that still accepts, a server that is gone would look like one that resets.
      if (isGone) yield* breakProxies(proxiesOf(breakable, "postgres"), "refuse")
      yield* Effect.addFinalizer(() => keeper.release(isGone ? () => Effect.void : (running) => running.resume))
      yield* keeper.hold(`a drill has taken it away (${fault})`, take)
    })
  })
  return [
    one("kill", (running) => running.kill, true),
    one("hang", (running) => running.hang, false),
    one("refuse", (running) => running.stop, true)
  ]
}

/** All that lead to the server: the read side's too where it is the same. */
const proxiesOf = ({ proxies, sharesPostgres }: Breakable, dependency: string) => [
  ...(proxies?.byDependency.get(dependency) ?? []),
  ...(dependency === "postgres" && sharesPostgres ? (proxies?.byDependency.get("read-database") ?? []) : [])
]

const ofProxies = (breakable: Breakable, dependency: string): ReadonlyArray<Means> =>
  Fault.literals.map((fault) => ({
    ...{ dependency, fault, means: "proxy" },
    break: Effect.suspend(() => breakProxies(proxiesOf(breakable, dependency), fault))
  }))

const ofProcess = (breakable: Breakable, process: string): ReadonlyArray<Means> => {
  const copies = breakable.copies.filter((copy) => copy.process === process)
  const one = (fault: Fault, signal: "SIGKILL" | "SIGSTOP"): Means => ({
    ...{ dependency: process, fault, means: "signal" },
    break: Effect.gen(function* () {
      let turn = 0
      const next = Effect.suspend(() => strike(copies[turn++ % copies.length], signal))
      yield* next
      yield* Effect.forkScoped(next.pipe(Effect.delay(Drill.strikeInterval), Effect.repeat(Schedule.forever)))
    })
  })
  return [one("kill", "SIGKILL"), one("hang", "SIGSTOP")]
}

/** Only one that is well: the supervisor is to bring the others back in peace. One copy at a time, and the next one next. */
const strike = (copy: Breakable["copies"][number] | undefined, signal: "SIGKILL" | "SIGSTOP"): Break =>
  Effect.gen(function* () {
    if (copy === undefined) return
    const { phase, pid, sinceMs } = yield* copy.keeper.state
    if (phase !== "ready" || pid === null || Date.now() - sinceMs < Duration.toMillis(Drill.strikeInterval) / 2) return
    if (signal === "SIGSTOP") yield* Effect.addFinalizer(() => goOn(copy, pid))
    signalTree(pid, signal)
  })

/** Unless it has been replaced meanwhile: the number may be somebody else's by now. */
const goOn = ({ keeper }: Breakable["copies"][number], pid: number) =>
  Effect.map(keeper.state, (now) => {
    if (now.pid === pid) signalTree(pid, "SIGCONT")
  })
