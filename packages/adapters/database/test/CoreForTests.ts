// The core database as a process has it, in a database made for the test.
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { Effect, Layer, type Redacted } from "effect"
import * as ClientPostgres from "../src/ClientPostgres.ts"
import { ConsumerCursors } from "../src/ConsumerCursors.ts"
import { Database, ReadDatabase } from "../src/Database.ts"
import * as EventLogPostgres from "../src/EventLogPostgres.ts"
import { ParkedEvents, Parking } from "../src/ParkedEvents.ts"
import { VolumeHours } from "../src/VolumeHours.ts"
import { WebhookDeliveries } from "../src/WebhookDeliveries.ts"

export const coreOn = (url: Redacted.Redacted<string>) =>
  Layer.mergeAll(
    EventLogPostgres.layer,
    ConsumerCursors.layer,
    Parking.layer,
    ParkedEvents.layer,
    VolumeHours.layer,
    WebhookDeliveries.layer
  ).pipe(
    Layer.provideMerge(Layer.mergeAll(Database.layer, ReadDatabase.layer)),
    Layer.provideMerge(
      Layer.mergeAll(
        ClientPostgres.layer({ url, applicationName: "test" }),
        ClientPostgres.layerRead({ url, applicationName: "test-read" })
      )
    ),
    Layer.provideMerge(Health.layer)
  )

export const coreForTests = Layer.unwrap(Effect.map(migratedDatabase, coreOn))
