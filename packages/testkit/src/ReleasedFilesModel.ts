// What a past says of released files, told by walking through all of it: the plainest answer to each question that the database is asked.
// Tests of the file flow ask this instead of a database, and the database's own test holds its answers to these.
import type { FileEvent } from "@holdfast/contracts/attachment/Events"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { FileId, type Position, type Sha256, TicketId } from "@holdfast/contracts/Ids"
import { type Attachment, AttachmentDecider, contentOf } from "@holdfast/domain/attachment/Attachment"
import { DateTime } from "effect"

export const filesOf = (past: ReadonlyArray<Envelope>): ReadonlyMap<FileId, Attachment> => {
  const files = new Map<FileId, Attachment>()
  for (const { event, streamId, streamType } of past) {
    if (streamType !== "file" || !isFileEvent(event)) continue
    const id = FileId.make(streamId)
    const file = AttachmentDecider.evolve(files.get(id) ?? null, event)
    if (file !== null) files.set(id, file)
  }
  return files
}

const isFileEvent = (event: Envelope["event"]): event is FileEvent => !("ticketId" in event) || "ownerId" in event

const isPending = (file: Attachment | undefined): boolean => file?.isRescanPending === true

export const rescansIn = (past: ReadonlyArray<Envelope>, after: Position, countMax: number) => {
  const files = filesOf(past)
  return past
    .filter(({ event, position }) => event._tag === "FileRescanRequested" && position > after)
    .slice(0, countMax)
    .map(({ position, streamId }) => {
      const fileId = FileId.make(streamId)
      return { fileId, position, isPending: isPending(files.get(fileId)) }
    })
}

export const pendingIn = (past: ReadonlyArray<Envelope>, fileIds: ReadonlyArray<FileId>): number => {
  const files = filesOf(past)
  return fileIds.filter((fileId) => isPending(files.get(fileId))).length
}

export const pageIn = (past: ReadonlyArray<Envelope>, before: Position, countMax: number) => {
  const files = filesOf(past)
  return past
    .filter(({ event, position }) => event._tag === "FileReleased" && position < before)
    .toReversed()
    .slice(0, countMax)
    .flatMap(({ occurredAt, position, streamId }) => {
      const fileId = FileId.make(streamId)
      const file = files.get(fileId)
      const scan = past.findLast((one) => one.streamId === streamId && scans.has(one.event._tag))
      if (file === undefined || scan === undefined || !("tool" in scan.event) || scan.event.tool === undefined)
        return []
      return [
        {
          fileId,
          position,
          releasedAtMs: DateTime.toEpochMillis(occurredAt),
          isIdle: file.state === "released" && !isPending(file),
          scannedWith: scan.event.tool,
          scannedVersion: scan.streamVersion
        }
      ]
    })
}

const scans: ReadonlySet<string> = new Set(["FileScanned", "FileRescanned", "FileRescanFailed", "FileWithdrawn"])

export const givingIn = (past: ReadonlyArray<Envelope>, sha256: Sha256, before: Position): ReadonlyArray<FileId> =>
  [...filesOf(past)].flatMap(([fileId, file]) => {
    const registered = past.find(({ streamId }) => String(streamId) === fileId)
    if (registered === undefined || registered.position >= before) return []
    const isGone = file.state === "rejected" || file.state === "withdrawn"
    const gives = [contentOf(file).sha256, ...file.derivatives.map((one) => one.sha256)]
    return !isGone && gives.includes(sha256) ? [fileId] : []
  })

/** Contents that files which are neither rejected nor withdrawn have. */
export const neededIn = (past: ReadonlyArray<Envelope>, keys: ReadonlyArray<Sha256>): ReadonlySet<Sha256> => {
  const alive = [...filesOf(past).values()].filter(({ state }) => state !== "rejected" && state !== "withdrawn")
  const needed = new Set(alive.flatMap((file) => [file.sha256, ...file.derivatives.map(({ sha256 }) => sha256)]))
  return new Set(keys.filter((key) => needed.has(key)))
}

export const attachmentsIn = (past: ReadonlyArray<Envelope>, fileId: FileId) =>
  past.flatMap(({ event, streamId }) =>
    event._tag === "FileAttached" && event.fileId === fileId
      ? [{ ticketId: TicketId.make(streamId), name: event.name, audience: event.audience }]
      : []
  )
