// What a file needs of which store, by its state alone: uploaded bytes and all that was made of them in the quarantine while it waits; in the
// released store what downloads give once it is released; nothing any more once it has ended otherwise.
import type { FileId, Sha256 } from "@holdfast/contracts/Ids"
import { type Attachment, contentOf } from "@holdfast/domain/attachment/Attachment"
import type { JournalEntry } from "../Journal.ts"

export type Place = "quarantine" | "released"

export interface Need {
  readonly place: Place
  readonly sha256: Sha256
  readonly sizeBytes: number
  readonly fileId: FileId
  /** Of the file, or `journal` while the core has not heard of it. */
  readonly state: string
}

/** As the sweep sees it: see `FileReferences`. */
const gone: ReadonlySet<string> = new Set(["rejected", "withdrawn"])

export const needsOf = (file: Attachment): ReadonlyArray<Need> => {
  if (gone.has(file.state)) return []
  const isReleased = file.state === "released"
  const place = isReleased ? "released" : "quarantine"
  const own = isReleased ? contentOf(file) : file
  const contents = new Map([own, ...file.derivatives].map(({ sha256, sizeBytes }) => [sha256, sizeBytes]))
  const { fileId, state } = file
  return [...contents].map(([sha256, sizeBytes]) => ({ place, sha256, sizeBytes, fileId, state }))
}

export const needOf = ({ file: { fileId, sha256, sizeBytes } }: JournalEntry): Need => ({
  place: "quarantine",
  sha256,
  sizeBytes,
  fileId,
  state: "journal"
})
