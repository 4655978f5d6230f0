// What the commands on files work with: the core's database and log, both stores and the journal, chosen as the desk's processes choose them. They need
// the database alone: the processes may run beside them or not. Everything that fails comes out as one sentence.
import * as HandleCommand from "@holdfast/commands/HandleCommand"
import * as CommandStorePostgres from "@holdfast/database/CommandStorePostgres"
import { FileCatalog } from "@holdfast/database/FileCatalog"
import { FileReferences } from "@holdfast/database/FileReferences"
import { ReleasedFiles } from "@holdfast/database/ReleasedFiles"
import * as ContentReferences from "@holdfast/files/ContentReferences"
import { foldersIn } from "@holdfast/files/Folders"
import * as Journal from "@holdfast/files/Journal"
import * as JournalView from "@holdfast/files/JournalView"
import { makeAdapters } from "@holdfast/process/Adapters"
import { Settings as ProcessSettings } from "@holdfast/process/Config"
import { StartError } from "@holdfast/process/StartError"
import { Health } from "@holdfast/resilience/Health"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import * as BlobStoreDisk from "@holdfast/storage/BlobStoreDisk"
import * as DiskSweep from "@holdfast/storage/DiskSweep"
import { Effect, Layer, Option, type Redacted } from "effect"
import { Refusal, refuse } from "../Refusal.ts"
import { readSettings, type Settings } from "../Settings.ts"
import { deskDatabaseUrl } from "./DeskDatabase.ts"

const layerOf = (settings: Settings, databaseUrl: Redacted.Redacted<string>) => {
  const folders = foldersIn(settings.dataDir)
  const quarantine = { root: folders.quarantine, freeBytesMin: settings.diskReserveBytes }
  const { eventLog, released } = makeAdapters({ process: "files", callers: "work" })
  const store = released(folders.released)
  const references = ContentReferences.layer.pipe(
    Layer.provide([Journal.layer(folders.journal), Layer.provide(FileReferences.layer, eventLog)])
  )
  const commands = HandleCommand.layer.pipe(Layer.provide(CommandStorePostgres.layer))
  return Layer.mergeAll(
    Layer.mergeAll(commands, FileCatalog.layer, ReleasedFiles.layer).pipe(Layer.provideMerge(eventLog)),
    store,
    BlobStoreDisk.layerQuarantine(quarantine),
    DiskSweep.layerInventory(quarantine).pipe(Layer.provide([references, store])),
    JournalView.layer(folders.journal)
  ).pipe(
    Layer.provide(Layer.succeed(ProcessSettings, { ...settings, databaseUrl: Option.some(databaseUrl) })),
    Layer.provide(Health.layer)
  )
}

type FilesServices = Layer.Success<ReturnType<typeof layerOf>>

export const withFiles = <A, E extends Refusal | Unavailable>(
  use: (settings: Settings) => Effect.Effect<A, E, FilesServices>
) =>
  Effect.gen(function* () {
    const settings = yield* readSettings
    const databaseUrl = yield* deskDatabaseUrl(settings)
    return yield* Effect.provide(use(settings), layerOf(settings, databaseUrl))
  }).pipe(
    Effect.mapError((error) => {
      if (error instanceof Refusal) return error
      if (error instanceof Unavailable) return refuse(`The ${error.dependency} does not answer: ${error.detail}.`)
      return refuse(error instanceof StartError ? error.message : `The database does not answer: ${error.message}`)
    })
  )
