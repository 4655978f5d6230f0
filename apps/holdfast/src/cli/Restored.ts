// `holdfast restored`: said once after a backup was put back and before the desk is started. The log has gone back to an earlier state, so it
// is another log from now on: what RabbitMQ still holds of the former one is passed over, and what some consumer may lack is published
// again.
import { handledByAll } from "@holdfast/broker/Handled"
import * as ClientPostgres from "@holdfast/database/ClientPostgres"
import { ConsumerCursors } from "@holdfast/database/ConsumerCursors"
import { Database } from "@holdfast/database/Database"
import { EventLog } from "@holdfast/database/EventLog"
import * as EventLogPostgres from "@holdfast/database/EventLogPostgres"
import { Health } from "@holdfast/resilience/Health"
import { Console, Effect, Layer } from "effect"
import { Command } from "effect/cli"
import { refuse } from "../Refusal.ts"
import { readSettings } from "../Settings.ts"
import { deskDatabaseUrl } from "./DeskDatabase.ts"

export const restored = Command.make(
  "restored",
  {},
  Effect.fn("holdfast.restored")(function* () {
    const url = yield* deskDatabaseUrl(yield* readSettings)
    const services = Layer.merge(EventLogPostgres.layer, ConsumerCursors.layer).pipe(
      Layer.provide(Database.layer),
      Layer.provide(ClientPostgres.layer({ url, applicationName: "holdfast-restored" })),
      Layer.provide(Health.layer)
    )
    const from = yield* begunAnew.pipe(
      Effect.provide(services),
      Effect.mapError((error) => refuse(`The database does not answer: ${error.message}`))
    )
    yield* Console.log(`The log has a new identity; what comes after position ${from} is published again.`)
  })
).pipe(Command.withDescription("Say that the database was restored from a backup, before the desk is started"))

const begunAnew = Effect.gen(function* () {
  const log = yield* EventLog
  const from = yield* handledByAll(yield* ConsumerCursors)
  yield* log.renewIdentity(from)
  return from
})
