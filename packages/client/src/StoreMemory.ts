// An outbox that lasts as long as the process: for programs that need order and patience but no disk, and for tests.
import { applyChanges, inKeyOrder, type Store, StoreUnavailable } from "./Store.ts"

/** What a closed memory store leaves behind for the next one, as a disk would. */
export interface Memory {
  readonly kept: Map<string, string>
  isOpen: boolean
}

export const makeMemory = (): Memory => ({ kept: new Map(), isOpen: false })

export const memoryStore = (memory: Memory = makeMemory()): Store => {
  let isMine = false
  return {
    open: async () => {
      if (memory.isOpen) throw new StoreUnavailable({ reason: "locked", detail: "it is open already" })
      memory.isOpen = isMine = true
      return inKeyOrder(memory.kept)
    },
    write: async (changes) => {
      if (!isMine) throw new StoreUnavailable({ reason: "failed", detail: "it is not open" })
      applyChanges(memory.kept, changes)
    },
    close: async () => {
      if (isMine) memory.isOpen = isMine = false
    }
  }
}
