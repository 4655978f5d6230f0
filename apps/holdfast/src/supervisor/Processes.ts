// The desk's processes as children: what each is told, and all of them started and stopped together.
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, Redacted } from "effect"
import { fileGateway, fleet, type Member } from "../Fleet.ts"
import type { Settings } from "../Settings.ts"
import { baseUrl } from "./Addresses.ts"
import { childPlan } from "./ChildProcess.ts"
import { type DataFolder, logFileOf } from "./DataFolder.ts"
import { type Keeper, keep, type Running } from "./Keeper.ts"
import { remembered } from "./UnderWay.ts"

const projectRoot = fileURLToPath(new URL("../../../..", import.meta.url))

/** All started; stopped together, so that the slowest alone decides how long it takes. */
export const startProcesses = (settings: Settings, folder: DataFolder, databaseUrl: Redacted.Redacted<string>) =>
  Effect.acquireRelease(
    Effect.forEach(fleet, (member) => keep(plan(settings, folder, environment(settings, databaseUrl), member))),
    (keepers) => Effect.forEach(keepers, (keeper) => keeper.stop, { concurrency: "unbounded", discard: true })
  )

export const allReady = (keepers: ReadonlyArray<Keeper<Running>>) =>
  Effect.forEach(keepers, (keeper) => keeper.firstReady, { concurrency: "unbounded", discard: true })

const plan = (settings: Settings, folder: DataFolder, environment: Environment, { http, name }: Member) =>
  remembered(
    childPlan({
      name,
      entry: join(projectRoot, "apps", name, "src/main.ts"),
      arguments: [],
      folder: projectRoot,
      environment,
      logFile: logFileOf(folder, name),
      liveUrl: `${baseUrl(settings, http)}/health/live`
    })
  )

type Environment = Readonly<Record<string, string | undefined>>

const environment = (settings: Settings, databaseUrl: Redacted.Redacted<string>): Environment => ({
  ...process.env,
  HOLDFAST_DATA_DIR: settings.dataDir,
  HOLDFAST_DATABASE_URL: Redacted.value(databaseUrl),
  HOLDFAST_PUBLIC_FILE_URL: process.env.HOLDFAST_PUBLIC_FILE_URL ?? baseUrl(settings, fileGateway.http),
  HOLDFAST_STATUS_TARGETS: fleet.map(({ http }) => baseUrl(settings, http)).join(",")
})
