// The event worker put together: the relay and the consumers, each on what it needs, with health and metrics beside them.

import * as HandleCommand from "@holdfast/commands/HandleCommand"
import * as CommandStorePostgres from "@holdfast/database/CommandStorePostgres"
import { Parking } from "@holdfast/database/ParkedEvents"
import * as ReadTablesPostgres from "@holdfast/database/ReadTablesPostgres"
import * as ReadTablesProjection from "@holdfast/database/ReadTablesProjection"
import { VolumeHours } from "@holdfast/database/VolumeHours"
import { WebhookDeliveries } from "@holdfast/database/WebhookDeliveries"
import type { Part } from "@holdfast/events/Registry"
import { runParts } from "@holdfast/events/Registry"
import { makeAdapters } from "@holdfast/process/Adapters"
import { Settings } from "@holdfast/process/Config"
import * as HealthRoutes from "@holdfast/process/HealthRoutes"
import { serve } from "@holdfast/process/HttpServer"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import * as WebhookHttp from "@holdfast/webhook/WebhookHttp"
import { Effect, Layer } from "effect"
import { readRules, readWebhooks } from "./files.ts"

const adapters = makeAdapters({ process: "event-worker", callers: "work" })

const core = Layer.mergeAll(
  Parking.layer,
  WebhookDeliveries.layer,
  HandleCommand.layer.pipe(Layer.provide(CommandStorePostgres.layer))
).pipe(Layer.provideMerge(adapters.eventLog))

const read = Layer.mergeAll(ReadTablesPostgres.layer, ReadTablesProjection.layer, VolumeHours.layer).pipe(
  Layer.provide(adapters.readDatabase)
)

const webhooks = Layer.unwrap(
  Settings.use(({ webhookAllowPrivate, webhooksFile }) =>
    Effect.map(readWebhooks(webhooksFile), (endpoints) =>
      WebhookHttp.layer({ endpoints, allowPrivate: webhookAllowPrivate })
    )
  )
)

const work = (only: ReadonlyArray<Part>) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { rulesFile } = yield* Settings
      const rules = yield* readRules(rulesFile)
      // Each by itself, so that one that dies is told, started again and takes no other along.
      for (const part of only) yield* Effect.forkScoped(keepRunning(part, runParts([part], rules)))
    })
  ).pipe(Layer.provide(Layer.mergeAll(core, read, webhooks, adapters.workerBroker, adapters.cache)))

const health = Layer.unwrap(
  Settings.use(({ eventWorkerPort, host }) =>
    Effect.succeed(
      serve(HealthRoutes.layer({ process: "event-worker", needs: ["database"] }), {
        host,
        port: eventWorkerPort,
        portVariable: "HOLDFAST_EVENT_WORKER_PORT"
      })
    )
  )
)

export const eventWorker = (only: ReadonlyArray<Part>) => Layer.mergeAll(work(only), health)
