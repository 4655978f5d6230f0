// How many commands, how they ended and how long they took. Labels are names from the contracts, never anything a client sent.
import type { CommandAccepted } from "@holdfast/contracts/Command"
import type { CommandError } from "@holdfast/contracts/CommandErrors"
import type { CommandName, DeskRefusal } from "@holdfast/contracts/Commands"
import { Clock, Effect, Exit, Metric } from "effect"

const total = Metric.counter("holdfast_commands_total", {
  description: "Commands by name and outcome: accepted, replayed, or the tag of the error",
  incremental: true
})
const duration = Metric.histogram("holdfast_command_duration_ms", {
  description: "Time from the edge to the durable answer, in milliseconds",
  boundaries: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2000]
})

type Executed = Effect.Effect<CommandAccepted, DeskRefusal | CommandError>

export const measured = (command: CommandName, self: Executed): Executed =>
  Effect.flatMap(Clock.currentTimeMillis, (startedAt) =>
    Effect.onExit(self, (exit) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.andThen(
          Metric.update(countOf(command, outcomeOf(exit)), 1),
          Metric.update(durationOf(command), now - startedAt)
        )
      )
    )
  )

const outcomeOf = (exit: Exit.Exit<CommandAccepted, DeskRefusal | CommandError>): string => {
  if (Exit.isSuccess(exit)) return exit.value.replayed ? "replayed" : "accepted"
  const failed = exit.cause.reasons.find((reason) => reason._tag === "Fail")
  return failed?.error._tag ?? (Exit.hasInterrupts(exit) ? "interrupted" : "defect")
}

// Labelled metrics are looked up once per name and outcome, of which there are few.
const counts = new Map<string, typeof total>()
const durations = new Map<string, typeof duration>()

const countOf = (command: CommandName, outcome: string) => {
  const key = `${command} ${outcome}`
  const known = counts.get(key) ?? Metric.withAttributes(total, { command, outcome })
  counts.set(key, known)
  return known
}

const durationOf = (command: CommandName) => {
  const known = durations.get(command) ?? Metric.withAttributes(duration, { command })
  durations.set(command, known)
  return known
}
