// Where an outbox keeps what must not be forgotten: a small map from key to text. Each layer (memory, file, IndexedDB) is held to one
// contract suite; what the texts mean is the outbox's business.
import { Schema } from "effect"

export class StoreUnavailable extends Schema.TaggedError<StoreUnavailable>()("StoreUnavailable", {
  /**
   * locked: another process or tab has it open. damaged: what is kept cannot all be read; nothing was changed. failed: the medium did
   * not do as told, a full disk most likely.
   */
  reason: Schema.Literals(["locked", "damaged", "failed"]),
  detail: Schema.String
}) {}

/** A key and its new text; null removes it. */
export type Change = readonly [key: string, text: string | null]

/** Every method rejects with `StoreUnavailable` only. */
export interface Store {
  /** Everything that is kept, in the order of the keys. Comes before anything else, and nobody else may open it until `close`. */
  open(): Promise<ReadonlyMap<string, string>>
  /** All of the changes or none. Once it resolves they survive the end of the process. Writes happen in the order of the calls. */
  write(changes: ReadonlyArray<Change>): Promise<void>
  /** After what was asked before. Again is harmless. */
  close(): Promise<void>
}

export const inKeyOrder = (kept: ReadonlyMap<string, string>): ReadonlyMap<string, string> =>
  new Map([...kept].sort(([one], [other]) => (one < other ? -1 : 1)))

export const applyChanges = (kept: Map<string, string>, changes: ReadonlyArray<Change>): void => {
  for (const [key, text] of changes) {
    if (text === null) kept.delete(key)
    else kept.set(key, text)
  }
}
