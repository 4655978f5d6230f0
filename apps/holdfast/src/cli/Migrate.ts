// `holdfast migrate`: for desks that run their processes by themselves; `up` does it at every start. With `--check` it changes nothing and
// tells what is still to be run: exit code 0 only when nothing is.
import type { Pending } from "@holdfast/migrations/Steps"
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { refuse } from "../Refusal.ts"
import { readSettings, type Settings } from "../Settings.ts"
import { migrateSide, pendingOfSide } from "../supervisor/Migrations.ts"
import { deskDatabaseUrl } from "./DeskDatabase.ts"

const check = Flag.Boolean("check").pipe(
  Flag.withDescription("Only tell what is still to be run"),
  Flag.withDefault(false)
)

export const migrate = Command.make(
  "migrate",
  { check },
  Effect.fn("holdfast.migrate")(function* (options) {
    const settings = yield* readSettings
    if (!options.check) yield* migrateAll(settings)
    const left = yield* allPending(settings)
    for (const { name, waitsFor } of left) yield* Console.log(sentenceOf({ name, waitsFor }))
    if (left.length === 0) yield* Console.log("The schema is current.")
    if (left.some(({ waitsFor }) => waitsFor === null)) return yield* refuse("Run `holdfast migrate`.")
  })
).pipe(Command.withDescription("Bring the database to the schema of this version"))

const sidesOf = Effect.fnUntraced(function* (settings: Settings) {
  const url = yield* deskDatabaseUrl(settings)
  return [["core", url] as const, ["read", Option.getOrElse(settings.readDatabaseUrl, () => url)] as const]
})

const migrateAll = Effect.fnUntraced(function* (settings: Settings) {
  const ran = yield* Effect.forEach(yield* sidesOf(settings), ([side, url]) => migrateSide(side, url))
  if (ran.flat().length > 0) yield* Console.log(`Migrated: ${ran.flat().join(", ")}.`)
})

/** Of both sides of the database. */
export const allPending = Effect.fnUntraced(function* (settings: Settings) {
  const left = yield* Effect.forEach(yield* sidesOf(settings), ([side, url]) => pendingOfSide(side, url))
  return left.flat()
})

export const sentenceOf = ({ name, waitsFor }: Pending): string =>
  waitsFor === null ? `${name} is still to be run.` : `${name} waits for ${waitsFor}: restart them, then migrate again.`
