// A file as its events tell it: what every stage of the pipeline, and whoever looks at it after its release, goes by.
import { type FileEvent, FileReceived } from "@holdfast/contracts/attachment/Events"
import type { Envelope } from "@holdfast/contracts/Envelope"
import { type Attachment, AttachmentDecider } from "@holdfast/domain/attachment/Attachment"
import type { JournalEntry } from "./Journal.ts"

export interface FileInHand {
  readonly attachment: Attachment
  readonly name: string
  /** How often it was sent through again. */
  readonly retries: number
  /** How often it was to be looked at again after its release. */
  readonly rescans: number
}

/** As it will be once the core has heard of it. */
export const received = ({ file }: JournalEntry): FileInHand | null => {
  const attachment = AttachmentDecider.evolve(null, FileReceived.make(file))
  return attachment === null ? null : { attachment, name: file.name, retries: 0, rescans: 0 }
}

export const fold = (history: ReadonlyArray<Envelope>): FileInHand | null => {
  let attachment: Attachment | null = null
  let name = ""
  let retries = 0
  let rescans = 0
  for (const { event } of history) {
    if (!isFileEvent(event)) continue
    attachment = AttachmentDecider.evolve(attachment, event)
    if (event._tag === "FileReceived") name = event.name
    if (event._tag === "FileRetried") retries++
    if (event._tag === "FileRescanRequested") rescans++
  }
  return attachment === null ? null : { attachment, name, retries, rescans }
}

const fileEvents: ReadonlySet<string> = new Set<FileEvent["_tag"]>([
  "FileReceived",
  "FileIdentified",
  "FileScanned",
  "FileConverted",
  "FileReleased",
  "FileRejected",
  "FileParked",
  "FileRetried",
  "FileRescanRequested",
  "FileRescanned",
  "FileRescanFailed",
  "FileWithdrawn"
])
const isFileEvent = (event: Envelope["event"]): event is FileEvent => fileEvents.has(event._tag)
