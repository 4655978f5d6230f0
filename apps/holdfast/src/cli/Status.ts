// `holdfast status`: asks every process how it is, as a proxy would. Exit code 0 only when each of them is ready.
import { Console, Effect, Schema } from "effect"
import { Command } from "effect/cli"
import { fleet, type Member } from "../Fleet.ts"
import { refuse } from "../Refusal.ts"
import { readSettings, type Settings } from "../Settings.ts"
import { baseUrl } from "../supervisor/Addresses.ts"
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

export interface ProcessStatus {
  readonly name: string
  readonly status: string
  readonly dependencies: (typeof Ready.Type)["dependencies"]
}

const silent = (name: string): ProcessStatus => ({ name, status: "does not answer", dependencies: [] })

export const askProcess = (settings: Settings, { http, name }: Member): Effect.Effect<ProcessStatus> =>
  Effect.tryPromise(async () => {
    const response = await fetch(`${baseUrl(settings, http)}/health/ready`, { signal: AbortSignal.timeout(3_000) })
    return response.json()
  }).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Ready)),
    Effect.map((ready) => ({ name, ...ready })),
    Effect.orElseSucceed(() => silent(name))
  )

export const status = Command.make(
  "status",
  { json },
  Effect.fn("holdfast.status")(function* (options) {
    const settings = yield* readSettings
    const all = yield* Effect.forEach(fleet, (member) => askProcess(settings, member), { concurrency: "unbounded" })
    yield* Console.log(options.json ? JSON.stringify(all) : statusTable(all))
    const unready = all.filter((one) => one.status !== "ready").map(({ name }) => name)
    if (unready.length > 0) return yield* refuse(`Not ready: ${unready.join(", ")}.`)
  })
).pipe(Command.withDescription("Ask every process how it is"))

export const statusTable = (all: ReadonlyArray<ProcessStatus>): string =>
  table(
    ["process", "status", "dependencies"],
    all.flatMap(({ dependencies, name, status }) => {
      const told = dependencies.map(({ dependency, detail, since, state }) =>
        state === "up" ? `${dependency} up` : `${dependency} ${state} since ${since}: ${detail ?? "no reason given"}`
      )
      return [[name, status, told[0] ?? ""], ...told.slice(1).map((line) => ["", "", line])]
    })
  )
