// The database that a command works on: the one that was named, or the running desk's own.
import { readFile } from "node:fs/promises"
import { Effect, Option, Redacted } from "effect"
import { refuse } from "../Refusal.ts"
import type { Settings } from "../Settings.ts"
import { dataFolderAt } from "../supervisor/DataFolder.ts"
import { readDesk } from "../supervisor/DeskFile.ts"
import { passwordFileIn } from "../supervisor/Postgres.ts"

export const deskDatabaseUrl = (settings: Settings) =>
  Option.match(settings.databaseUrl, { onSome: Effect.succeed, onNone: () => ownDatabaseUrl(settings.dataDir) })

const ownDatabaseUrl = Effect.fnUntraced(function* (dataDir: string) {
  const folder = dataFolderAt(dataDir)
  const desk = yield* readDesk(folder.run)
  const port = Option.flatMapNullishOr(desk, ({ postgresPort }) => postgresPort)
  if (Option.isNone(port)) {
    return yield* refuse(
      `No desk is running on ${dataDir}: start one with \`holdfast up\`, or set HOLDFAST_DATABASE_URL to the database that is meant.`
    )
  }
  const password = yield* Effect.tryPromise({
    try: () => readFile(passwordFileIn(folder), "utf8"),
    catch: () => refuse(`The password of the database cannot be read: run this as the account that runs the desk.`)
  })
  return Redacted.make(`postgres://holdfast:${password.trim()}@127.0.0.1:${port.value}/holdfast`)
})
