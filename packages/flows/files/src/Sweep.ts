// The clean-up loops: in the gateway, uploads that a crash left complete are finished and expired ones removed; in the worker, leftovers
// of interrupted writes and old quarantined content go.
import { readdir, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Files, Storage } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { StorageSweep } from "@holdfast/storage/BlobStore"
import { Clock, Duration, Effect } from "effect"
import { Uploads } from "./Uploads.ts"

export const runUploads = keepRunning(
  "sweep of uploads",
  Effect.forever(
    Uploads.use((uploads) => uploads.sweep).pipe(
      Effect.tap(({ finished, removed }) =>
        finished + removed === 0
          ? Effect.void
          : Effect.logInfo(`sweep of uploads: ${finished} finished after a crash, ${removed} expired ones removed`)
      ),
      Effect.andThen(Effect.sleep(Files.sweepInterval))
    )
  )
)

export const runStorage = (workFolder: string) =>
  keepRunning(
    "sweep of storage",
    Effect.forever(
      Effect.gen(function* () {
        const count = (yield* StorageSweep.use((sweep) => sweep.runOnce)) + (yield* sweepFolder(workFolder))
        if (count > 0) yield* Effect.logInfo(`sweep of storage: ${count} files removed`)
        yield* Effect.sleep(Files.sweepInterval)
      })
    )
  )

/** Private copies that a crash left behind. */
const sweepFolder = Effect.fnUntraced(function* (folder: string) {
  const olderThanMs = (yield* Clock.currentTimeMillis) - Duration.toMillis(Storage.leftoverLifetime)
  return yield* Effect.tryPromise({
    try: async () => {
      let count = 0
      for (const name of await readdir(folder).catch(() => [])) {
        const path = join(folder, name)
        if ((await stat(path)).mtimeMs >= olderThanMs) continue
        await rm(path, { recursive: true, force: true })
        count++
      }
      return count
    },
    catch: () =>
      new Unavailable({
        dependency: "storage",
        reason: "connection_lost",
        retryAfterMs: Duration.toMillis(Files.sweepInterval),
        detail: "the folder of private copies could not be swept"
      })
  })
})
