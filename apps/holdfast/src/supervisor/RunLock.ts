// One desk per data folder. The lock is an exclusive transaction on an SQLite file: the kernel holds it, so it ends with the process
// however that ends, and no stale file can lock anybody out.
import { DatabaseSync } from "node:sqlite"
import { Effect } from "effect"

/** Succeeds with whether it is ours; held until the scope closes. */
export const acquireRunLock = (file: string) =>
  Effect.acquireRelease(
    Effect.sync(() => lock(file)),
    (held) => Effect.sync(() => held?.close())
  ).pipe(Effect.map((held) => held !== undefined))

const lock = (file: string): DatabaseSync | undefined => {
  const database = new DatabaseSync(file)
  try {
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")
    return database
  } catch (cause) {
    database.close()
    const busy = 5
    if (cause instanceof Error && "errcode" in cause && cause.errcode === busy) return undefined
    throw cause
  }
}
