// Keeps the logs of the processes bounded. They write to their files themselves, so that a slow supervisor can never hold them up; a file
// that has grown too large is copied aside, over the older copy, and cut. A line written between the two steps is lost.
import { copyFile, readdir, stat, truncate } from "node:fs/promises"
import { join } from "node:path"
import { Supervisor } from "@holdfast/resilience/Limits"
import { ByteSize, Effect, Schedule } from "effect"

export const rotateLogs = (folder: string) =>
  runOnce(folder).pipe(
    Effect.catch((cause) => Effect.logWarning("a log could not be rotated", cause)),
    Effect.repeat(Schedule.spaced(Supervisor.logCheckInterval))
  )

export const runOnce = (folder: string) =>
  Effect.tryPromise(async () => {
    const files = (await readdir(folder)).filter((name) => name.endsWith(".log")).map((name) => join(folder, name))
    for (const file of files) {
      if ((await stat(file)).size <= ByteSize.toNumberUnsafe(Supervisor.logBytesMax)) continue
      await copyFile(file, `${file}.1`)
      await truncate(file)
    }
  })
