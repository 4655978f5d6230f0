// What a process and its database know of each other's versions. A process of an older release runs on a newer schema, which only ever
// grew; one that finds an older schema than it needs refuses to start, as its first statement would fail in somebody's face. A database
// that does not answer keeps nobody from starting.
import type { GuardedDatabase } from "@holdfast/database/Database"
import { isRecent, type Side, schemaRelease } from "@holdfast/migrations/Migrate"
import { type Context, Effect } from "effect"
import { StartError } from "./StartError.ts"

/** As servers show it among their connections; the release is what `holdfast migrate` goes by before it takes anything away. */
export const sessionName = (process: string): string => `holdfast ${process} r${schemaRelease}`

export const requireSchema = <Id>(side: Side, database: Context.Key<Id, GuardedDatabase>) =>
  Effect.gen(function* () {
    const { run } = yield* database
    if (yield* Effect.orElseSucceed(run(isRecent(side)), () => true)) return
    return yield* StartError.configuration(
      `The ${side} schema of the database is older than this release needs: run \`holdfast migrate\` of this release first.`
    )
  })
