// What can be done to a desk, one at a time or several: each harm begins, and hands back how it is mended. Servers are ours to start again,
// as an operator or systemd would; the desk's own processes are left to their supervisor.
import type { ServerName } from "@holdfast/scripts/Stack"
import { Effect, Schedule } from "effect"
import type { DeskProcess, DrillDesk } from "./DrillDesk.ts"

export interface Harm {
  readonly name: string
  /** Two harms of one victim at a time would be one. */
  readonly victims: ReadonlyArray<string>
  /** Gives the way to mend it, which is done when the victim runs again. */
  readonly begin: Effect.Effect<Effect.Effect<void>>
}

const serverOf = ({ stack }: DrillDesk, name: ServerName) => {
  const found = stack.servers.get(name)
  if (found === undefined) throw new Error(`there is no private ${name}`)
  return found
}

export const killServer = (desk: DrillDesk, name: ServerName): Harm => ({
  name: `kill ${name}`,
  victims: [name],
  begin: Effect.as(
    Effect.promise(() => serverOf(desk, name).kill()),
    Effect.promise(() => serverOf(desk, name).start())
  )
})

/** Connections stay and are accepted, and nothing answers. */
export const hangServer = (desk: DrillDesk, name: ServerName): Harm => ({
  name: `hang ${name}`,
  victims: [name],
  begin: Effect.as(
    Effect.sync(() => serverOf(desk, name).signal("SIGSTOP")),
    Effect.sync(() => serverOf(desk, name).signal("SIGCONT"))
  )
})

/** All at the same moment. */
export const killProcesses = (desk: DrillDesk, names: ReadonlyArray<string>): Harm => ({
  name: `kill ${names.join(" + ")}`,
  victims: names,
  begin: signalProcesses(desk, names, "SIGKILL")
})

/** Nobody wakes them: the supervisor must notice that they hang. */
export const hangProcesses = (desk: DrillDesk, names: ReadonlyArray<string>): Harm => ({
  name: `hang ${names.join(" + ")}`,
  victims: names,
  begin: signalProcesses(desk, names, "SIGSTOP")
})

const signalProcesses = (desk: DrillDesk, names: ReadonlyArray<string>, signal: NodeJS.Signals) =>
  Effect.gen(function* () {
    const victims = (yield* desk.processes).filter(({ name }) => names.includes(name))
    for (const { pid } of victims) if (pid !== null) signalIfThere(pid, signal)
    return until(desk, (now) => victims.every((victim) => isReplaced(victim, now)))
  })

const isReplaced = (victim: DeskProcess, now: ReadonlyArray<DeskProcess>): boolean =>
  now.some(({ isReady, name, pid }) => name === victim.name && isReady && pid !== victim.pid)

const signalIfThere = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(pid, signal)
  } catch (cause) {
    // It ended by itself a moment ago.
    if (!(cause instanceof Error && "code" in cause && cause.code === "ESRCH")) throw cause
  }
}

const until = ({ processes }: DrillDesk, isTrue: (all: ReadonlyArray<DeskProcess>) => boolean): Effect.Effect<void> =>
  Effect.asVoid(Effect.repeat(processes, { until: isTrue, schedule: Schedule.spaced("100 millis") }))

export const allReady = (desk: DrillDesk): Effect.Effect<void> =>
  until(desk, (all) => all.every(({ isReady }) => isReady))
