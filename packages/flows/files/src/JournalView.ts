// The journal for whoever only looks: how long it is and what stands in it. Looking changes nothing, not even at an entry that cannot be read.
import { readdir, stat } from "node:fs/promises"
import { join } from "node:path"
import type { FileId } from "@holdfast/contracts/Ids"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { diskNowMs } from "@holdfast/storage/DiskClock"
import { Context, type Effect, Layer, Result } from "effect"
import { isMissing } from "./DiskTrouble.ts"
import { asideFolder, decodeEntry, idsOf, io, type JournalEntry, nameOf, readOrNull } from "./Journal.ts"

export interface JournalDepth {
  readonly entries: number
  /** By the disk's clock; null when none waits. */
  readonly oldestAgeMs: number | null
}

export class JournalView extends Context.Service<
  JournalView,
  {
    /** All that wait, the oldest first. */
    readonly list: Effect.Effect<ReadonlyArray<FileId>, Unavailable>
    /** Those that were set aside for somebody to look at. */
    readonly aside: Effect.Effect<ReadonlyArray<FileId>, Unavailable>
    look(fileId: FileId): Effect.Effect<JournalEntry | "gone" | "unreadable", Unavailable>
    /** By the disk's clock; null when it is gone. */
    ageMs(fileId: FileId): Effect.Effect<number | null, Unavailable>
    readonly depth: Effect.Effect<JournalDepth, Unavailable>
  }
>()("@holdfast/files/JournalView") {}

export const layer = (folder: string) =>
  Layer.succeed(JournalView, {
    list: io(() => idsIn(folder)),
    aside: io(() => idsIn(join(folder, asideFolder))),
    look: (fileId) => io(() => look(folder, fileId)),
    ageMs: (fileId) => io(() => ageMs(folder, fileId)),
    depth: io(() => depthOf(folder))
  })

const idsIn = async (folder: string) => {
  const names = await readdir(folder).catch(whenMissing<ReadonlyArray<string>>([]))
  return idsOf(names, names.length)
}

const look = async (folder: string, fileId: FileId): Promise<JournalEntry | "gone" | "unreadable"> => {
  const text = await readOrNull(join(folder, nameOf(fileId)))
  return text === null ? "gone" : Result.getOrElse(decodeEntry(text), () => "unreadable" as const)
}

/** Of those that are registered at this very moment the next one is the oldest. */
const depthOf = async (folder: string): Promise<JournalDepth> => {
  const ids = await idsIn(folder)
  for (const id of ids) {
    const oldestAgeMs = await ageMs(folder, id)
    if (oldestAgeMs !== null) return { entries: ids.length, oldestAgeMs }
  }
  return { entries: 0, oldestAgeMs: null }
}

const ageMs = async (folder: string, fileId: FileId): Promise<number | null> => {
  const found = await stat(join(folder, nameOf(fileId))).catch(whenMissing(null))
  return found === null ? null : Math.max(0, (await diskNowMs(folder)) - found.mtimeMs)
}

const whenMissing =
  <A>(instead: A) =>
  (error: unknown): A => {
    if (isMissing(error)) return instead
    throw error
  }
