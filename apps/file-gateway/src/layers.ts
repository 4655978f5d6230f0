// The file gateway: uploads into the quarantine and downloads of what was released. It is given the released store and an intake, never
// the quarantine, and needs neither database nor broker.
import type { Server } from "node:http"
import * as Download from "@holdfast/files/Download"
import * as FileGauges from "@holdfast/files/FileGauges"
import { foldersIn } from "@holdfast/files/Folders"
import * as Journal from "@holdfast/files/Journal"
import * as JournalView from "@holdfast/files/JournalView"
import * as Sweep from "@holdfast/files/Sweep"
import * as Transfers from "@holdfast/files/Transfers"
import * as TusServer from "@holdfast/files/TusServer"
import * as Uploads from "@holdfast/files/Uploads"
import { makeAdapters } from "@holdfast/process/Adapters"
import { type ProcessSettings, Settings } from "@holdfast/process/Config"
import { downloadKey } from "@holdfast/process/DownloadKey"
import * as HealthRoutes from "@holdfast/process/HealthRoutes"
import { serve } from "@holdfast/process/HttpServer"
import { Files } from "@holdfast/resilience/Limits"
import * as BlobStoreDisk from "@holdfast/storage/BlobStoreDisk"
import { Duration, Effect, Layer } from "effect"

const name = "file-gateway"

export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const settings = yield* Settings
    const { allowedOrigins, filePort, host } = settings
    const key = yield* downloadKey
    const routes = Layer.mergeAll(
      TusServer.layer,
      Download.layer(key, Transfers.limitsWith(Download.limitsDefault, downloadRates(settings))),
      HealthRoutes.layer({ process: name, needs: ["storage"] })
    )
    const server = serve(routes, {
      host,
      port: filePort,
      portVariable: "HOLDFAST_FILE_PORT",
      receiveDeadline: null,
      allowedOrigins,
      takesOwnPages: true,
      connectionsMax: Files.socketsMax,
      prepare
    })
    const background = Layer.effectDiscard(
      Effect.andThen(Effect.forkScoped(Sweep.runUploads), Effect.forkScoped(FileGauges.runJournal))
    )
    return Layer.merge(server, background).pipe(Layer.provide(services(settings)))
  })
)

const uploadRates = ({ lineRate, uploadRate, uploadRatePerClient }: ProcessSettings): Transfers.Rates => ({
  all: uploadRate,
  perClient: uploadRatePerClient,
  line: lineRate
})

const downloadRates = ({ downloadRate, downloadRatePerClient, lineRate }: ProcessSettings): Transfers.Rates => ({
  all: downloadRate,
  perClient: downloadRatePerClient,
  line: lineRate
})

const services = (settings: ProcessSettings) => {
  const folders = foldersIn(settings.dataDir)
  const quota = { perPrincipalBytes: settings.uploadQuotaPrincipalBytes, totalBytes: settings.uploadQuotaTotalBytes }
  const { identity, released } = makeAdapters({ process: name })
  return Uploads.layer(folders.uploads, quota).pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        identity,
        Journal.layer(folders.journal),
        JournalView.layer(folders.journal),
        Transfers.layer(Transfers.limitsWith(Transfers.limitsDefault, uploadRates(settings))),
        BlobStoreDisk.layerIntake({ root: folders.quarantine, freeBytesMin: settings.diskReserveBytes }),
        released(folders.released)
      )
    )
  )
}

/** An upload may take hours, but not a minute without a byte. */
const prepare = (server: Server): void => {
  server.setTimeout(Duration.toMillis(Files.idleDeadline))
  server.prependListener("request", (request, response) => {
    if (request.method !== "OPTIONS" || request.url?.startsWith("/files") !== true) return
    for (const [header, value] of Object.entries(TusServer.announcement)) response.setHeader(header, value)
  })
}
