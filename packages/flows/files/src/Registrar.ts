// Tells the core of completed uploads: takes each journal entry, issues RegisterFile, and removes the entry only after the core has it. A
// crash anywhere repeats the command under the same id, which changes nothing; several registrars may share one journal.
import { RegisterFile } from "@holdfast/contracts/attachment/Commands"
import { type FileId, PrincipalId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { deriveCommandId } from "@holdfast/domain/DerivedId"
import { keepRunning } from "@holdfast/resilience/KeepRunning"
import { Files } from "@holdfast/resilience/Limits"
import { withRemoteParent } from "@holdfast/telemetry/TraceContext"
import { Effect, Option } from "effect"
import { Journal, type JournalEntry } from "./Journal.ts"
import { refusalOf } from "./Refusal.ts"

/** As whom the pipeline acts. */
export const fileWorker: Principal = { id: PrincipalId.make("file-worker"), role: "service" }

/** Until interrupted. */
export const run = Effect.suspend(() =>
  keepRunning("registrar", Effect.forever(Effect.andThen(runOnce, Effect.sleep(Files.journalDelay))))
)

/** Everything that waits, oldest first; ends early when the core is away. */
export const runOnce = Effect.gen(function* () {
  const journal = yield* Journal
  const waiting = yield* journal.list(Files.journalBatchMax)
  yield* Effect.forEach(waiting, registerOne, { concurrency: 4, discard: true })
})

const registerOne = Effect.fnUntraced(function* (fileId: FileId) {
  const journal = yield* Journal
  const entry = yield* journal.read(fileId)
  if (Option.isNone(entry)) return
  const outcome = yield* register(entry.value).pipe(withRemoteParent(entry.value.traceparent))
  if (outcome === "registered") return yield* journal.remove(fileId)
  yield* Effect.logError(`upload ${fileId} is refused and its journal entry set aside: ${outcome.refused}`)
  yield* journal.setAside(fileId)
})

const register = Effect.fn("Registrar.register")(function* ({ correlationId, file }: JournalEntry) {
  const bus = yield* CommandBus
  const commandId = deriveCommandId("register-file", file.fileId)
  return yield* bus
    .execute({
      principal: fileWorker,
      meta: { commandId, correlationId },
      command: RegisterFile.command.make(file),
      causationId: Option.none()
    })
    .pipe(
      Effect.as("registered" as const),
      Effect.catch((error) => refusalOf(error))
    )
})
