// An event log of its own, in a database made for the test.
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { Database } from "@holdfast/database/Database"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import { ParkedEvents, Parking } from "@holdfast/database/ParkedEvents"
import { migratedDatabase } from "@holdfast/migrations/FreshDatabase"
import { Health } from "@holdfast/resilience/Health"
import { Effect, Layer, type Redacted } from "effect"

/** The core database as a process has it. */
export const databaseOn = (url: Redacted.Redacted<string>) =>
  Layer.mergeAll(EventLogPostgres.layer, ConsumerCursors.layer, Parking.layer, ParkedEvents.layer).pipe(
    Layer.provideMerge(Database.layer),
    Layer.provideMerge(ClientPostgres.layer({ url, applicationName: "test" })),
    Layer.provideMerge(Health.layer)
  )

export const databaseForTests = Layer.unwrap(Effect.map(migratedDatabase, databaseOn))
