// `holdfast status`: asks every copy of every process how it is, each at its own address, and the supervisor what became of it; processes that
// run by themselves are asked as a proxy would. Exit code 0 only when each of them is ready.
import { Console, Effect, Option, Schema } from "effect"
import { Command } from "effect/cli"
import { fleet } from "../Fleet.ts"
import { refuse } from "../Refusal.ts"
import { readSettings, type Settings } from "../Settings.ts"
import { baseUrl } from "../supervisor/Addresses.ts"
import { askStates, controlPath } from "../supervisor/Control.ts"
import { dataFolderAt } from "../supervisor/DataFolder.ts"
import type { KeptState } from "../supervisor/Keeper.ts"
import { table } from "../Table.ts"
import { json } from "./Up.ts"

const Ready = Schema.Struct({
  status: Schema.String,
  dependencies: Schema.Array(
    Schema.Struct({
      dependency: Schema.String,
      state: Schema.String,
      since: Schema.String,
      detail: Schema.NullOr(Schema.String)
    })
  )
})

/** What the supervisor knows; null of a process that runs by itself. */
type Kept = Pick<KeptState, "restarts" | "detail" | "pid" | "address"> | null

export interface ProcessStatus {
  readonly name: string
  readonly status: string
  readonly dependencies: (typeof Ready.Type)["dependencies"]
  readonly kept: Kept
}

export const status = Command.make(
  "status",
  { json },
  Effect.fn("holdfast.status")(function* (options) {
    const settings = yield* readSettings
    const all = yield* askAll(settings)
    yield* Console.log(options.json ? JSON.stringify(all) : statusTable(all))
    const unready = all.filter((one) => one.status !== "ready").map(({ name }) => name)
    if (unready.length > 0) return yield* refuse(`Not ready: ${unready.join(", ")}.`)
  })
).pipe(Command.withDescription("Ask every process how it is"))

const askAll = Effect.fnUntraced(function* (settings: Settings) {
  const kept = yield* Effect.option(askStates(controlPath(dataFolderAt(settings.dataDir).run)))
  return yield* Effect.all(
    Option.match(kept, {
      onNone: () => fleet.map(({ http, name }) => askProcess(name, baseUrl(settings, http), "does not answer", null)),
      onSome: (states) => states.map(askCopy)
    }),
    { concurrency: "unbounded" }
  )
})

/** PostgreSQL has no address of this kind: the supervisor asks it itself. */
const askCopy = (state: KeptState): Effect.Effect<ProcessStatus> =>
  state.address === null
    ? Effect.succeed({ name: state.name, status: state.phase, dependencies: [], kept: state })
    : askProcess(state.name, state.address, state.phase === "ready" ? "does not answer" : state.phase, state)

const askProcess = (name: string, base: string, silent: string, kept: Kept): Effect.Effect<ProcessStatus> =>
  Effect.tryPromise(async () => {
    const response = await fetch(`${base}/health/ready`, { signal: AbortSignal.timeout(3_000) })
    return response.json()
  }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Ready)),
    Effect.map((ready) => ({ name, ...ready, kept })),
    Effect.orElseSucceed(() => ({ name, status: silent, dependencies: [], kept }))
  )

export const statusTable = (all: ReadonlyArray<ProcessStatus>): string =>
  table(
    ["process", "status", "restarts", "dependencies"],
    all.flatMap(({ dependencies, kept, name, status }) => {
      const told = [
        ...(kept?.detail == null ? [] : [`last restart: ${kept.detail}`]),
        ...dependencies.map(({ dependency, detail, since, state }) =>
          state === "up" ? `${dependency} up` : `${dependency} ${state} since ${since}: ${detail ?? "no reason given"}`
        )
      ]
      const restarts = kept === null ? "" : String(kept.restarts)
      return [[name, status, restarts, told[0] ?? ""], ...told.slice(1).map((line) => ["", "", "", line])]
    })
  )
