// What a running desk leaves for other commands in its run folder: who it is and where it listens. The lock tells whether it runs; this
// file only tells what it said when it started.
import { readFile, rename, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, type Option, Schema } from "effect"

const Desk = Schema.Struct({
  pid: Schema.Int,
  startedAt: Schema.String,
  /** `null` when PostgreSQL is somebody else's. */
  postgresPort: Schema.NullOr(Schema.Int),
  addresses: Schema.Array(Schema.Struct({ name: Schema.String, serves: Schema.String, url: Schema.String }))
})
export type Desk = typeof Desk.Type

const fileIn = (run: string): string => join(run, "desk.json")

export const writeDesk = (run: string, desk: Desk) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      await writeFile(`${fileIn(run)}.new`, JSON.stringify(desk), { mode: 0o600 })
      await rename(`${fileIn(run)}.new`, fileIn(run))
    }),
    () => Effect.promise(() => rm(fileIn(run), { force: true }))
  )

export const readDesk = (run: string): Effect.Effect<Option.Option<Desk>> =>
  Effect.tryPromise(() => readFile(fileIn(run), "utf8")).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Schema.fromJsonString(Desk))),
    Effect.option
  )
