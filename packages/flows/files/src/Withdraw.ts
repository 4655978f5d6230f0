// What follows when a file was found bad after its release. It is recorded before anything of this begins, each step is harmless when it is done
// again, and all of it is done again until all of it is done: its links die; every other file that gives the same content is withdrawn too, or
// rejected if it is still on its way; the content goes from what downloads give, unless a file that came later needs it; and the people of each
// ticket that it hangs on are told.
import { WithdrawFile } from "@holdfast/contracts/attachment/Commands"
import type { FileWithdrawn } from "@holdfast/contracts/attachment/Events"
import type { DeskCommand } from "@holdfast/contracts/Commands"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { StreamVersion } from "@holdfast/contracts/Ids"
import { WithdrawAttachment } from "@holdfast/contracts/ticket/Commands"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { EventLog } from "@holdfast/database/EventLog"
import { ReleasedFiles } from "@holdfast/database/ReleasedFiles"
import { contentOf } from "@holdfast/domain/attachment/Attachment"
import { deriveCommandId } from "@holdfast/domain/DerivedId"
import { StorageSweep, Withdrawn } from "@holdfast/storage/BlobStore"
import { Effect, Option } from "effect"
import { type FileInHand, fold } from "./FileInHand.ts"
import { refusalOf } from "./Refusal.ts"
import { fileWorker } from "./Registrar.ts"

export const run = Effect.fn("Pipeline.withdraw")(function* (envelope: Envelope, event: FileWithdrawn) {
  const log = yield* EventLog
  const file = fold(yield* log.readStream(envelope.streamId, StreamVersion.make(0)))
  if (file === null) return
  yield* Withdrawn.use((withdrawn) => withdrawn.add(event.fileId))
  yield* withdrawOthers(envelope, event, file)
  const { derivatives } = file.attachment
  const given = new Set([contentOf(file.attachment).sha256, ...derivatives.map(({ sha256 }) => sha256)])
  yield* StorageSweep.use((sweep) => sweep.remove([...given]))
  yield* tellTickets(envelope, event)
})

/** What was uploaded after the verdict was scanned after it, maybe with signatures that know better. */
const withdrawOthers = Effect.fnUntraced(function* (envelope: Envelope, event: FileWithdrawn, file: FileInHand) {
  const { reason, tool } = event
  const others = yield* ReleasedFiles.use((files) => files.giving(contentOf(file.attachment).sha256, envelope.position))
  const detail = asOfAnother(event.detail)
  for (const fileId of others) {
    if (fileId === event.fileId) continue
    yield* issue(envelope, ["withdraw-file", fileId], WithdrawFile.command.make({ fileId, reason, detail, tool }))
  }
})

const ofAnother = "the same content as another file: "
const asOfAnother = (detail: string): string =>
  detail.startsWith(ofAnother) ? detail : `${ofAnother}${detail}`.slice(0, 500)

const tellTickets = Effect.fnUntraced(function* (envelope: Envelope, { detail, fileId, reason }: FileWithdrawn) {
  const attachments = yield* ReleasedFiles.use((files) => files.attachments(fileId))
  for (const { audience, name, ticketId } of attachments) {
    const command = WithdrawAttachment.command.make({ ticketId, fileId, name, audience, reason, detail })
    yield* issue(envelope, ["withdraw-attachment", ticketId], command)
  }
})

/** Under an id that follows from what it is for, so that repeating it changes nothing. A refusal is the outcome. */
const issue = Effect.fnUntraced(function* (envelope: Envelope, cause: ReadonlyArray<string>, command: DeskCommand) {
  const bus = yield* CommandBus
  const meta = { commandId: deriveCommandId(...cause, envelope.eventId), correlationId: envelope.correlationId }
  yield* bus
    .execute({ principal: fileWorker, meta, command, causationId: Option.some(envelope.eventId) })
    .pipe(
      Effect.catch((error) =>
        Effect.flatMap(refusalOf(error), ({ refused }) => Effect.logWarning(`${command._tag} was refused: ${refused}`))
      )
    )
})
