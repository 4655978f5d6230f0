// The desk's processes as children, so many copies of each: what each is told, which sockets they share, and all of them started and
// stopped together.
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, Redacted } from "effect"
import { fileGateway, fleet, type Member } from "../Fleet.ts"
import type { Settings } from "../Settings.ts"
import { baseUrl } from "./Addresses.ts"
import { childPlan, type RunningChild } from "./ChildProcess.ts"
import { type DataFolder, logFileOf } from "./DataFolder.ts"
import { type Keeper, keep } from "./Keeper.ts"
import { placeOf } from "./Priority.ts"
import { type Inherited, openSockets } from "./Sockets.ts"
import { remembered } from "./UnderWay.ts"

const projectRoot = fileURLToPath(new URL("../../../..", import.meta.url))

export interface Copy {
  /** The process that it is a copy of. */
  readonly process: string
  /** Its own name, as in logs and tables. */
  readonly name: string
  readonly keeper: Keeper<RunningChild>
}

/** All started; stopped together, so that the slowest alone decides how long it takes. `inPlace`: what they are told instead. */
export const startProcesses = Effect.fnUntraced(function* (
  settings: Settings,
  folder: DataFolder,
  databaseUrl: Redacted.Redacted<string>,
  inPlace: Environment
) {
  const told = { ...environment(settings, databaseUrl), ...inPlace }
  const copies = yield* Effect.forEach(fleet, (member) => plansOf(settings, folder, told, member))
  return yield* Effect.acquireRelease(
    Effect.forEach(copies.flat(), ({ plan, process }) =>
      Effect.map(keep(plan), (keeper): Copy => ({ process, name: plan.name, keeper }))
    ),
    (started) => Effect.forEach(started, ({ keeper }) => keeper.stop, { concurrency: "unbounded", discard: true })
  )
})

const plansOf = Effect.fnUntraced(function* (
  settings: Settings,
  folder: DataFolder,
  told: Environment,
  member: Member
) {
  const sockets = yield* openSockets(settings, member)
  return copyNames(member.name, settings.copies).map((name) => ({
    process: member.name,
    plan: planOf(name, member, folder, told, sockets)
  }))
})

/** One copy has its process's name alone. */
export const copyNames = (process: string, copies: number): ReadonlyArray<string> =>
  copies === 1 ? [process] : Array.from({ length: copies }, (_, index) => `${process}-${index + 1}`)

const planOf = (
  name: string,
  member: Member,
  folder: DataFolder,
  environment: Environment,
  sockets: ReadonlyArray<Inherited>
) =>
  remembered(
    childPlan({
      name,
      entry: join(projectRoot, "apps", member.name, "src/main.ts"),
      nodeFlags: member.nodeFlags,
      arguments: [],
      folder: projectRoot,
      environment,
      logFile: logFileOf(folder, name),
      sockets,
      place: placeOf(member.name)
    })
  )

type Environment = Readonly<Record<string, string | undefined>>

const environment = (settings: Settings, databaseUrl: Redacted.Redacted<string>): Environment => ({
  ...process.env,
  // What Node made of the source, kept: a process starts in half the time.
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(settings.dataDir, "run", "compiled"),
  HOLDFAST_DATA_DIR: settings.dataDir,
  HOLDFAST_DATABASE_URL: Redacted.value(databaseUrl),
  HOLDFAST_PUBLIC_FILE_URL: process.env.HOLDFAST_PUBLIC_FILE_URL ?? baseUrl(settings, fileGateway.http),
  HOLDFAST_STATUS_TARGETS: fleet.map(({ http }) => baseUrl(settings, http)).join(",")
})

export interface NotReady {
  readonly name: string
  readonly why: string
}

/** Once each has answered or has failed too often; those that do not start are tried again for ever, and the others go on. */
export const settled = (copies: ReadonlyArray<Copy>): Effect.Effect<ReadonlyArray<NotReady>> =>
  Effect.map(
    Effect.forEach(
      copies,
      ({ keeper, name }) =>
        keeper.firstReady.pipe(
          Effect.as<ReadonlyArray<NotReady>>([]),
          Effect.catch(({ sentence }) => Effect.succeed([{ name, why: sentence }]))
        ),
      { concurrency: "unbounded" }
    ),
    (all) => all.flat()
  )
