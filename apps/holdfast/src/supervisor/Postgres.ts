// The desk's own PostgreSQL, kept running like every other process of the desk.
import { prepare, type RunningServer } from "@holdfast/database/ServerEmbedded"
import type { Redacted } from "effect"
import { Effect } from "effect"
import { refuse } from "../Refusal.ts"
import { type DataFolder, logFileOf } from "./DataFolder.ts"
import { type Keeper, keep } from "./Keeper.ts"
import { remembered } from "./UnderWay.ts"

export const postgresName = "postgresql"

export interface KeptPostgres {
  readonly url: Redacted.Redacted<string>
  readonly keeper: Keeper<RunningServer>
}

export const passwordFileIn = (folder: DataFolder): string => `${folder.keys}/postgres.password`

/** Runs and answers; stopped when the scope closes. */
export const startPostgres = (folder: DataFolder, port: number) =>
  Effect.gen(function* () {
    const logFile = logFileOf(folder, postgresName)
    const passwordFile = passwordFileIn(folder)
    const server = yield* prepare({ folder: folder.postgres, passwordFile, logFile, port })
    const plan = remembered({ name: postgresName, start: server.start, logFile })
    const keeper = yield* Effect.acquireRelease(keep(plan), (kept) => kept.stop)
    yield* keeper.firstReady
    return { url: server.url, keeper } satisfies KeptPostgres
  }).pipe(Effect.mapError((error) => (error._tag === "Refusal" ? error : refuse(error.sentence))))
