// A server that speaks S3, started for a test and ended with its scope.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Redacted } from "effect"
import type { S3Options } from "../src/S3Client.ts"

export interface S3Server {
  readonly directory: string
  readonly port: number
  readonly options: S3Options
  /** As a crash does. */
  readonly kill: Effect.Effect<void>
}

/** The server's own; it takes no others. */
const [accessKey, secretKey] = [Redacted.make("S3RVER"), Redacted.make("S3RVER")]

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-s3-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

export const startS3Server = Effect.fnUntraced(function* (again?: S3Server) {
  const directory = again?.directory ?? (yield* folder)
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn(
        process.execPath,
        [join(import.meta.dirname, "children", "s3rver.ts"), directory, String(again?.port ?? 0)],
        { stdio: ["pipe", "pipe", "inherit"] }
      )
    ),
    (started) => Effect.sync(() => started.kill("SIGKILL"))
  )
  const [told] = yield* Effect.promise(() => once(child.stdout, "data"))
  const port = Number(String(told))
  const endpoint = `http://127.0.0.1:${port}`
  const server: S3Server = {
    directory,
    port,
    options: { endpoint, bucket: "holdfast", prefix: "desk/", region: "us-east-1", accessKey, secretKey },
    kill: Effect.promise(async () => {
      const gone = once(child, "exit")
      child.kill("SIGKILL")
      await gone
    })
  }
  return server
})
