// A desk to be broken for a long time: `holdfast up` on real servers of its own, each of which may be killed and started again, with what
// the load and the audit of a drill must know of it. Everything ends with the scope.
import { join } from "node:path"
import { Principal } from "@holdfast/contracts/Principal"
import type { LoadTarget } from "@holdfast/holdfast/drill/LoadWorld"
import { refuse } from "@holdfast/holdfast/Refusal"
import { askStates, controlPath } from "@holdfast/holdfast/supervisor/Control"
import { issueToken } from "@holdfast/identity/Tokens"
import { type Stack, startStack } from "@holdfast/scripts/Stack"
import { Duration, Effect, Redacted, Schema } from "effect"
import { type Desk, startDesk } from "../flows/Desk.ts"

export interface DrillDesk {
  readonly stack: Stack
  readonly target: LoadTarget
  readonly databaseUrl: Redacted.Redacted<string>
  /** The desk's own processes that run now, by name. */
  readonly processes: Effect.Effect<ReadonlyArray<DeskProcess>>
}

export interface DeskProcess {
  readonly name: string
  readonly pid: number | null
  readonly isReady: boolean
  readonly restarts: number
}

export const drillDesk = Effect.gen(function* () {
  const stack = yield* Effect.acquireRelease(
    Effect.promise(() => startStack({ only: ["postgres", "rabbitmq", "redis", "clamd"] })),
    (one) => Effect.promise(() => one.stop())
  )
  const databaseUrl = addressOf(stack, "HOLDFAST_TEST_DATABASE_URL")
  const desk = yield* Effect.acquireRelease(
    Effect.promise(() =>
      startDesk("servers", {
        environment: {
          // Spans of every request for a collector in this process would be most of its load.
          HOLDFAST_OTLP_URL: undefined,
          HOLDFAST_DATABASE_URL: databaseUrl,
          HOLDFAST_RABBITMQ_URL: addressOf(stack, "HOLDFAST_TEST_RABBITMQ_URL"),
          HOLDFAST_REDIS_URL: addressOf(stack, "HOLDFAST_TEST_REDIS_URL"),
          HOLDFAST_CLAMD_URL: addressOf(stack, "HOLDFAST_TEST_CLAMD_URL")
        }
      })
    ),
    (one) => Effect.promise(() => one.stop())
  )
  return {
    stack,
    target: targetOf(desk),
    databaseUrl: Redacted.make(databaseUrl),
    processes: processesOf(desk)
  } satisfies DrillDesk
})

const addressOf = (stack: Stack, variable: string): string => {
  const address = stack.environment[variable]
  if (address === undefined) throw new Error(`the private servers have no ${variable}`)
  return address
}

const tokenLifetime = Duration.hours(12)

const targetOf = ({ dataDir, url }: Desk): LoadTarget => ({
  commandUrl: url.command,
  queryUrl: url.query,
  realtimeUrl: url.realtime.replace(/^ws/, "http").replace(/\/graphql$/, ""),
  fileUrl: url.file,
  // Signed here: `holdfast token` is a process of its own for each of many people.
  token: (person) =>
    Schema.decodeEffect(Principal)(person).pipe(
      Effect.flatMap((principal) =>
        issueToken({
          directory: join(dataDir, "keys"),
          issuer: "holdfast",
          audience: "holdfast",
          principal,
          lifetime: tokenLifetime
        })
      ),
      Effect.mapError(({ message }) => refuse(message))
    )
})

const processesOf = ({ dataDir }: Desk): DrillDesk["processes"] =>
  askStates(controlPath(join(dataDir, "run"))).pipe(
    Effect.map((states) =>
      states.map(({ name, phase, pid, restarts }) => ({ name, pid, restarts, isReady: phase === "ready" }))
    ),
    Effect.orDie
  )
