// The file worker: tells the core of completed uploads, takes each file through its stages, and looks at released files again. It alone is
// given the quarantine.
import { runConsumer } from "@holdfast/broker/Consumer"
import * as HandleCommand from "@holdfast/commands/HandleCommand"
import * as ConverterProcess from "@holdfast/converter/ConverterProcess"
import * as CommandStorePostgres from "@holdfast/database/CommandStorePostgres"
import { FileCatalog } from "@holdfast/database/FileCatalog"
import { FileReferences } from "@holdfast/database/FileReferences"
import { Parking } from "@holdfast/database/ParkedEvents"
import { ReleasedFiles } from "@holdfast/database/ReleasedFiles"
import * as Ahead from "@holdfast/files/Ahead"
import * as ContentReferences from "@holdfast/files/ContentReferences"
import * as FileGauges from "@holdfast/files/FileGauges"
import { foldersIn } from "@holdfast/files/Folders"
import * as Journal from "@holdfast/files/Journal"
import * as JournalView from "@holdfast/files/JournalView"
import { makePipeline } from "@holdfast/files/Pipeline"
import * as Registrar from "@holdfast/files/Registrar"
import * as Rescans from "@holdfast/files/Rescans"
import * as Sweep from "@holdfast/files/Sweep"
import { makeAdapters } from "@holdfast/process/Adapters"
import { Settings } from "@holdfast/process/Config"
import * as HealthRoutes from "@holdfast/process/HealthRoutes"
import { serve } from "@holdfast/process/HttpServer"
import * as InspectorProcess from "@holdfast/scanner/InspectorProcess"
import * as BlobStoreDisk from "@holdfast/storage/BlobStoreDisk"
import * as DiskSweep from "@holdfast/storage/DiskSweep"
import { Effect, Layer } from "effect"

const name = "file-worker"

export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const { dataDir, diskReserveBytes, fileWorkerPort, host, opaqueFiles, rescanDays } = yield* Settings
    const folders = foldersIn(dataDir)
    const health = serve(HealthRoutes.layer({ process: name, needs: ["database", "storage"] }), {
      host,
      port: fileWorkerPort,
      portVariable: "HOLDFAST_FILE_WORKER_PORT"
    })
    const work = Layer.effectDiscard(
      Effect.gen(function* () {
        const { ahead, consumer } = yield* makePipeline({ workFolder: folders.work, opaque: opaqueFiles })
        yield* Effect.forkScoped(runConsumer(consumer))
        yield* Effect.forkScoped(Ahead.run(ahead))
        yield* Effect.forkScoped(Rescans.run({ days: rescanDays, opaque: opaqueFiles }))
        yield* Effect.forkScoped(Registrar.run)
        yield* Effect.forkScoped(Sweep.runStorage(folders.work))
        yield* Effect.forkScoped(FileGauges.runJournal)
        yield* Effect.forkScoped(FileGauges.runCensus)
      })
    )
    return Layer.merge(health, Layer.provide(work, services(dataDir, diskReserveBytes)))
  })
)

const services = (dataDir: string, freeBytesMin: number) => {
  const folders = foldersIn(dataDir)
  const quarantine = { root: folders.quarantine, freeBytesMin }
  const { workerBroker, eventLog, released, scanner } = makeAdapters({ process: name, callers: "work" })
  const core = Layer.mergeAll(
    HandleCommand.layer.pipe(Layer.provide(CommandStorePostgres.layer)),
    Parking.layer,
    ReleasedFiles.layer
  ).pipe(Layer.provideMerge(eventLog))
  const journal = Journal.layer(folders.journal)
  const store = released(folders.released)
  const references = ContentReferences.layer.pipe(
    Layer.provide([journal, Layer.provide(FileReferences.layer, eventLog)])
  )
  return Layer.mergeAll(
    core,
    workerBroker,
    scanner,
    InspectorProcess.layer({ folder: folders.work }),
    ConverterProcess.layer({ folder: folders.work }),
    journal,
    JournalView.layer(folders.journal),
    Layer.provide(FileCatalog.layer, eventLog),
    BlobStoreDisk.layerQuarantine(quarantine),
    store,
    DiskSweep.layerSweep(quarantine).pipe(Layer.provide([references, store]))
  )
}
