// Completed uploads that the core has not heard of yet: one small file each, on the disk that the upload lies on. Writing one needs
// nothing but the disk, so an upload is answered while the database is away; the registrar takes them from here. An entry is on the disk,
// folder and all, before its upload is acknowledged.
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises"
import { join } from "node:path"
import { RegisterFile } from "@holdfast/contracts/attachment/Commands"
import { Traceparent } from "@holdfast/contracts/Envelope"
import { CorrelationId, FileId } from "@holdfast/contracts/Ids"
import { deadline } from "@holdfast/resilience/Deadline"
import { Storage } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Context, Duration, Effect, Layer, Option, Result, Schema } from "effect"
import { isMissing, isUnwilling, writeWhole } from "./DiskTrouble.ts"

export const JournalEntry = Schema.Struct({
  file: RegisterFile.payload,
  correlationId: CorrelationId,
  traceparent: Schema.NullOr(Traceparent)
})
export type JournalEntry = typeof JournalEntry.Type

export class Journal extends Context.Service<
  Journal,
  {
    /** Durable once this succeeds. Writing an entry again replaces it. */
    write(entry: JournalEntry): Effect.Effect<void, Unavailable>
    /** The oldest, at most so many. */
    list(countMax: number): Effect.Effect<ReadonlyArray<FileId>, Unavailable>
    /** None when it is gone; an entry that cannot be read is set aside and counts as gone. */
    read(fileId: FileId): Effect.Effect<Option.Option<JournalEntry>, Unavailable>
    remove(fileId: FileId): Effect.Effect<void, Unavailable>
    /** Keeps an entry that the core will never accept, for somebody to look at. */
    setAside(fileId: FileId): Effect.Effect<void, Unavailable>
  }
>()("@holdfast/files/Journal") {}

export const layer = (folder: string) =>
  Layer.effect(
    Journal,
    Effect.gen(function* () {
      // A disk that is away at start is no reason not to start: each call then says so itself.
      yield* Effect.ignore(
        io(() => mkdir(join(folder, asideFolder), { recursive: true, mode: 0o700 })),
        { log: true }
      )
      return {
        write: Effect.fn("Journal.write")((entry: JournalEntry) =>
          io(() => writeWhole(join(folder, nameOf(entry.file.fileId)), encode(entry)))
        ),
        list: (countMax: number) =>
          Effect.map(
            io(() => readdir(folder)),
            (names) => idsOf(names, countMax)
          ),
        read: (fileId: FileId) => readEntry(folder, fileId),
        remove: (fileId: FileId) => io(() => rm(join(folder, nameOf(fileId)), { force: true })),
        setAside: (fileId: FileId) => setAside(folder, fileId)
      }
    })
  )

export const asideFolder = "aside"
export const nameOf = (fileId: FileId): string => `${fileId}.json`

export const io = <A>(run: () => Promise<A>): Effect.Effect<A, Unavailable> =>
  Effect.tryPromise({ try: run, catch: unavailable }).pipe(
    deadline(Storage.operationDeadline),
    Effect.catchTag("TimeoutError", (error) => Effect.fail(unavailable(error)))
  )

const unavailable = (error: unknown): Unavailable =>
  new Unavailable({
    dependency: "storage",
    reason: isUnwilling(error) ? "refused" : "connection_lost",
    retryAfterMs: Duration.toMillis(Storage.retryDelay),
    detail: `the journal's disk answered ${error instanceof Error && "code" in error ? String(error.code) : "nothing"}`
  })

const encode = Schema.encodeSync(Schema.fromJsonString(JournalEntry))
export const decodeEntry = Schema.decodeUnknownResult(Schema.fromJsonString(JournalEntry))

const decodeId = Schema.decodeUnknownResult(FileId)

/** Ids begin with their time, so their order is that of arrival. */
export const idsOf = (names: ReadonlyArray<string>, countMax: number): ReadonlyArray<FileId> =>
  names
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((name) => decodeId(name.slice(0, -".json".length)))
    .filter(Result.isSuccess)
    .slice(0, countMax)
    .map(({ success }) => success)

const readEntry = Effect.fnUntraced(function* (folder: string, fileId: FileId) {
  const text = yield* io(() => readOrNull(join(folder, nameOf(fileId))))
  if (text === null) return Option.none<JournalEntry>()
  const entry = decodeEntry(text)
  if (Result.isSuccess(entry)) return Option.some(entry.success)
  yield* Effect.logError(`journal entry ${fileId} cannot be read and is set aside: ${entry.failure.message}`)
  yield* setAside(folder, fileId)
  return Option.none<JournalEntry>()
})

const setAside = (folder: string, fileId: FileId) =>
  io(async () => {
    try {
      await rename(join(folder, nameOf(fileId)), join(folder, asideFolder, nameOf(fileId)))
    } catch (error) {
      if (!isMissing(error)) throw error
    }
  })

export const readOrNull = async (path: string): Promise<string | null> => {
  try {
    return await readFile(path, "utf8")
  } catch (error) {
    if (isMissing(error)) return null
    throw error
  }
}
