// `holdfast up`: everything that a desk needs, started in order, kept running, and stopped in the opposite order. Whatever makes a start
// impossible is one sentence before the first process runs, where it can be known by then.
import { join } from "node:path"
import { Clock, Console, Effect, Layer, Option, Redacted } from "effect"
import { commandApi, queryApi } from "../Fleet.ts"
import { ExitCode, refuse } from "../Refusal.ts"
import { readSettings, type Settings } from "../Settings.ts"
import { addresses, addressTable, baseUrl, standIns, wantedPorts } from "./Addresses.ts"
import { announcementJson, announcementText } from "./Announcement.ts"
import { controlPath, serveControl } from "./Control.ts"
import { type DataFolder, prepareDataFolder } from "./DataFolder.ts"
import { readDesk, writeDesk } from "./DeskFile.ts"
import { type FaultProxies, startFaultProxies } from "./FaultProxies.ts"
import { type Keys, prepareKeys } from "./Keys.ts"
import { rotateLogs } from "./LogRotation.ts"
import { migrateSide } from "./Migrations.ts"
import { makeOutages, type Outages } from "./Outage.ts"
import { checkPorts, pickPrivatePort } from "./Ports.ts"
import { type KeptPostgres, startPostgres } from "./Postgres.ts"
import { type Copy, type NotReady, settled, startProcesses } from "./Processes.ts"
import { makeRolling } from "./Rolling.ts"
import { acquireRunLock } from "./RunLock.ts"
import { addSampleData } from "./SampleData.ts"

export interface DeskOptions {
  readonly json: boolean
  /** Of each process; the setting's when it is not given. */
  readonly copies?: number | undefined
  readonly drillable: boolean
}

/** Runs until it is interrupted. */
export const runDesk = Effect.fn("Desk.run")(function* (options: DeskOptions) {
  const begunMs = yield* Clock.currentTimeMillis
  const say = (line: string) => (options.json ? Effect.void : Console.log(line))
  const settings = withOptions(yield* readSettings, options)
  const folder = yield* prepareDataFolder(settings.dataDir)
  yield* lockFolder(folder)
  const postgresPort = yield* choosePostgresPort(settings)
  yield* checkPorts(settings.host, wantedPorts(settings, postgresPort))
  const keys = yield* prepareKeys(folder, settings)
  yield* Effect.forkScoped(rotateLogs(folder.logs))
  yield* say(postgresPort === null ? "Preparing the database ..." : "Starting PostgreSQL ...")
  const postgres = postgresPort === null ? undefined : yield* startPostgres(folder, postgresPort)
  const databaseUrl = postgres?.url ?? Option.getOrElse(settings.databaseUrl, () => Redacted.make(""))
  yield* migrateBoth(settings, databaseUrl)
  yield* say("Starting the processes ...")
  const proxies = settings.drillable ? yield* startFaultProxies(settings, databaseUrl) : undefined
  const copies = yield* startProcesses(settings, folder, databaseUrl, proxies?.environment ?? {})
  const outages = yield* outagesOf(settings, postgres, copies, proxies)
  yield* control(folder, postgres, copies, outages)
  yield* describeDesk(folder, settings, postgresPort)
  const notReady = yield* settled(copies)
  if (notReady.length === copies.length) return yield* refuse(notReady[0]?.why ?? "Nothing starts.")
  yield* Effect.forEach(notReady, warn, { discard: true })
  yield* sampleData(settings, folder, postgres, keys)
  yield* announce(options, settings, folder, postgresPort, keys, begunMs)
  return yield* Effect.never
})

const withOptions = (settings: Settings, { copies, drillable }: DeskOptions): Settings => ({
  ...settings,
  copies: copies ?? settings.copies,
  drillable: drillable || settings.drillable
})

/** The rest of the desk is worth having. */
const warn = ({ why }: NotReady) => Console.error(`${why}\nIt is tried again, and the others run without it.`)

const lockFolder = (folder: DataFolder) =>
  Effect.gen(function* () {
    if (yield* acquireRunLock(join(folder.run, "lock"))) return
    return yield* refuse(yield* runningSentence(folder), ExitCode.alreadyRunning)
  })

const runningSentence = (folder: DataFolder) =>
  Effect.map(
    readDesk(folder.run),
    Option.match({
      onNone: () => `A desk is just starting on ${folder.root}.`,
      onSome: ({ addresses: rows, pid }) =>
        `A desk is already running on ${folder.root} (process ${pid}):\n\n${addressTable(rows)}\n\nStop it with Ctrl-C where it was started, or with: kill ${pid}`
    })
  )

const choosePostgresPort = (settings: Settings): Effect.Effect<number | null> => {
  if (Option.isSome(settings.databaseUrl)) return Effect.succeed(null)
  return Option.isSome(settings.postgresPort)
    ? Effect.succeed(settings.postgresPort.value)
    : pickPrivatePort("127.0.0.1")
}

const migrateBoth = (settings: Settings, databaseUrl: Redacted.Redacted<string>) =>
  Effect.andThen(
    migrateSide("core", databaseUrl),
    migrateSide(
      "read",
      Option.getOrElse(settings.readDatabaseUrl, () => databaseUrl)
    )
  )

const outagesOf = (
  { databaseUrl, readDatabaseUrl }: Settings,
  postgres: KeptPostgres | undefined,
  copies: ReadonlyArray<Copy>,
  proxies: FaultProxies | undefined
) => {
  const sharesPostgres = Option.isNone(readDatabaseUrl) || addressIn(readDatabaseUrl) === addressIn(databaseUrl)
  const breakable = { postgres: postgres?.keeper, sharesPostgres, copies, proxies }
  return Effect.acquireRelease(makeOutages(breakable), ({ end }) => end)
}

const addressIn = (url: Option.Option<Redacted.Redacted<string>>): string | null =>
  Option.match(url, { onNone: () => null, onSome: (one) => new URL(Redacted.value(one)).host })

const control = Effect.fnUntraced(function* (
  folder: DataFolder,
  postgres: KeptPostgres | undefined,
  copies: ReadonlyArray<Copy>,
  outages: Outages
) {
  const rolling = yield* Effect.acquireRelease(makeRolling(copies), ({ end }) => end)
  const everything = [...(postgres === undefined ? [] : [postgres.keeper]), ...copies.map(({ keeper }) => keeper)]
  const states = Effect.forEach(everything, (keeper) => keeper.state)
  yield* Layer.build(serveControl(controlPath(folder.run), { states, outages, rolling }))
})

const describeDesk = (folder: DataFolder, settings: Settings, postgresPort: number | null) =>
  writeDesk(folder.run, {
    pid: process.pid,
    startedAt: new Date().toISOString(),
    postgresPort,
    addresses: addresses(settings, postgresPort)
  })

/** Only into a desk that is all our own: nobody wants samples in their real database. */
const sampleData = (settings: Settings, folder: DataFolder, postgres: KeptPostgres | undefined, keys: Keys) =>
  postgres === undefined || keys.tokens === undefined
    ? Effect.void
    : addSampleData(folder, baseUrl(settings, commandApi.http), keys.tokens).pipe(
        Effect.catch((refusal) => Console.error(refusal.sentence))
      )

const announce = Effect.fnUntraced(function* (
  options: { readonly json: boolean },
  settings: Settings,
  folder: DataFolder,
  postgresPort: number | null,
  keys: Keys,
  begunMs: number
) {
  const told = {
    addresses: addresses(settings, postgresPort),
    standIns: standIns(settings),
    readySeconds: ((yield* Clock.currentTimeMillis) - begunMs) / 1000,
    logs: folder.logs,
    admin:
      keys.tokens === undefined
        ? undefined
        : {
            token: yield* keys.tokens.forAdmin,
            statusPage: `${baseUrl(settings, queryApi.http)}/`,
            commandUrl: baseUrl(settings, commandApi.http),
            commandId: crypto.randomUUID()
          }
  }
  yield* Console.log(options.json ? announcementJson(told) : `\n${announcementText(told)}\n`)
})
