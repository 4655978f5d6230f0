// Watches the scanner's signatures. When they change, every file that was released lately and was last looked at with others is to be looked at
// again, newest release first. What is left to do follows from the log alone: a restart goes on where it was, and files that were
// released meanwhile by an older scan are found an hour later at most. Only a few requests stand at a time, so that those of people come
// soon.
import { RescanFile } from "@holdfast/contracts/attachment/Commands"
import type { Tool } from "@holdfast/contracts/attachment/Stages"
import { type FileId, Position } from "@holdfast/contracts/Ids"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { type ReleasedFile, ReleasedFiles } from "@holdfast/database/ReleasedFiles"
import { deriveCommandId } from "@holdfast/domain/DerivedId"
import { Rescans as Limits } from "@holdfast/resilience/Limits"
import { Scanner } from "@holdfast/scanner/Scanner"
import { Clock, Duration, Effect, Option } from "effect"
import { refusalOf } from "./Refusal.ts"
import { fileWorker } from "./Registrar.ts"

/** The released files were gone through with these signatures. */
export interface Through {
  readonly signatures: string
  readonly atMs: number
}

/** Until interrupted. */
export const watchSignatures = (days: number) =>
  Effect.suspend(() => {
    let through: Through | null = null
    const watching = Effect.gen(function* () {
      // Who is away is told by health; there is time until the next look.
      through = yield* Effect.catch(watchOnce(days, through), ({ detail }) =>
        Effect.as(Effect.logDebug(`the signatures could not be watched: ${detail}`), through)
      )
      yield* Effect.sleep(Limits.signaturesInterval)
    })
    return days === 0 ? Effect.never : Effect.forever(watching)
  })

/** What tells one state of a scanner's knowledge from another. The policy scanner has no signatures but rules, and they have a version. */
export const signaturesOf = ({ name, signatureVersion, version }: Tool): string =>
  JSON.stringify([name, signatureVersion ?? version])

export const watchOnce = Effect.fn("Signatures.watchOnce")(function* (days: number, through: Through | null) {
  const nowMs = yield* Clock.currentTimeMillis
  const signatures = signaturesOf(yield* Scanner.use((scanner) => scanner.tool))
  const isThrough = through?.signatures === signatures && nowMs - through.atMs < Duration.toMillis(Limits.againInterval)
  if (isThrough) return through
  const files = yield* ReleasedFiles
  const sinceMs = nowMs - Duration.toMillis(Duration.days(days))
  let count = 0
  for (let before = everything; ; ) {
    const page = yield* files.page(before, Limits.pageMax)
    const recent = page.filter(({ releasedAtMs }) => releasedAtMs >= sinceMs)
    const outdated = recent.filter((file) => file.isIdle && signaturesOf(file.scannedWith) !== signatures)
    yield* requestAll(outdated)
    count += outdated.length
    const last = recent.at(-1)
    if (last === undefined || recent.length < Limits.pageMax) break
    before = last.position
    // They changed again: from the newest release on.
    if (signaturesOf(yield* Scanner.use((scanner) => scanner.tool)) !== signatures) return null
  }
  if (count > 0) yield* Effect.logInfo(`${count} released files were looked at again with signatures ${signatures}`)
  return { signatures, atMs: nowMs } satisfies Through
})

const everything = Position.make(Number.MAX_SAFE_INTEGER)

const requestAll = Effect.fnUntraced(function* (files: ReadonlyArray<ReleasedFile>) {
  for (let start = 0; start < files.length; start += Limits.underWayMax) {
    const some = files.slice(start, start + Limits.underWayMax)
    yield* Effect.forEach(some, request, { discard: true })
    yield* awaitDone(some.map(({ fileId }) => fileId))
  }
})

/** Once for each time that it was looked at, however often this is repeated. */
const request = Effect.fnUntraced(function* ({ fileId, scannedVersion }: ReleasedFile) {
  const bus = yield* CommandBus
  const commandId = deriveCommandId("rescan-file", fileId, String(scannedVersion))
  yield* bus
    .execute({
      principal: fileWorker,
      meta: { commandId },
      command: RescanFile.command.make({ fileId }),
      causationId: Option.none()
    })
    .pipe(
      Effect.catch((error) =>
        // Withdrawn meanwhile.
        Effect.flatMap(refusalOf(error), ({ refused }) =>
          Effect.logDebug(`a rescan of ${fileId} is refused: ${refused}`)
        )
      )
    )
})

const awaitDone = Effect.fnUntraced(function* (fileIds: ReadonlyArray<FileId>) {
  const files = yield* ReleasedFiles
  while ((yield* files.pending(fileIds)) > 0) yield* Effect.sleep(Limits.doneInterval)
})
