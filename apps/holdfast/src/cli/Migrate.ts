// `holdfast migrate`: for desks that run their processes by themselves; `up` does it at every start.
import { Console, Effect, Option } from "effect"
import { Command } from "effect/cli"
import { readSettings } from "../Settings.ts"
import { migrateSide } from "../supervisor/Migrations.ts"
import { deskDatabaseUrl } from "./DeskDatabase.ts"

export const migrate = Command.make(
  "migrate",
  {},
  Effect.fn("holdfast.migrate")(function* () {
    const settings = yield* readSettings
    const url = yield* deskDatabaseUrl(settings)
    const core = yield* migrateSide("core", url)
    const read = yield* migrateSide(
      "read",
      Option.getOrElse(settings.readDatabaseUrl, () => url)
    )
    const ran = [...core, ...read]
    yield* Console.log(ran.length === 0 ? "The schema is current." : `Migrated: ${ran.join(", ")}.`)
  })
).pipe(Command.withDescription("Bring the database to the schema of this version"))
