// One request at a time per upload, also where several gateways share the disk: two of them writing one upload would give it a hash that is
// not that of its content. A lock is an exclusive transaction on an SQLite file of its own: the kernel holds it, so it is free as soon as
// its holder is gone however that ended. Who waits asks the holder to let go, as its client has most likely come back by another line.
import { existsSync, mkdirSync } from "node:fs"
import { readdir, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { setTimeout as pause } from "node:timers/promises"
import { FileId } from "@holdfast/contracts/Ids"
import { Files } from "@holdfast/resilience/Limits"
import { Duration, Schema } from "effect"
import { refusalOfDisk } from "./DiskTrouble.ts"
import { tusRefusal } from "./Problem.ts"
import { notFound } from "./tus/Protocol.ts"

/** Asks the holder to let go; it may be asked often. */
type LetGo = () => void | Promise<void>

export interface UploadLock {
  /** Gives up when the request that wants it is over. */
  readonly lock: (over: AbortSignal, letGo: LetGo) => Promise<void>
  readonly unlock: () => Promise<void>
}

interface Held {
  readonly file: DatabaseSync
  readonly letGo: LetGo
  readonly watch: NodeJS.Timeout
}

const isId = Schema.is(FileId)

const stillHeld = {
  status: 500,
  tag: "UploadFailed",
  title: "Another request of this upload does not end; what was acknowledged is kept. Resume the upload."
}

export class UploadLocks {
  readonly #folder: string
  readonly #held = new Map<string, Held>()

  constructor(folder: string) {
    this.#folder = folder
    mkdirSync(folder, { recursive: true, mode: 0o700 })
  }

  newLock(id: string): UploadLock {
    return {
      lock: (over, letGo) => this.#lock(id, over, letGo).catch((error) => Promise.reject(refusalOfDisk(error))),
      unlock: async () => this.#unlock(id)
    }
  }

  async #lock(id: string, over: AbortSignal, letGo: LetGo): Promise<void> {
    // No path is ever made of anything else.
    if (!isId(id)) throw tusRefusal(notFound)
    const giveUpAt = performance.now() + Duration.toMillis(Files.lockDeadline)
    while (!(await this.#tryLock(id, letGo))) {
      if (over.aborted || performance.now() > giveUpAt) throw tusRefusal(stillHeld)
      await this.#askHolder(id)
      await pause(Duration.toMillis(Files.lockRetryDelay))
    }
  }

  async #tryLock(id: string, letGo: LetGo): Promise<boolean> {
    const file = exclusively(this.#pathOf(id))
    if (file === undefined) return false
    await rm(this.#wantedPath(id), { force: true })
    const look = () => existsSync(this.#wantedPath(id)) && letGo()
    const watch = setInterval(look, Duration.toMillis(Files.lockLookInterval)).unref()
    this.#held.set(id, { file, letGo, watch })
    return true
  }

  /** The holder may be this process or another one. */
  async #askHolder(id: string): Promise<void> {
    await this.#held.get(id)?.letGo()
    await writeFile(this.#wantedPath(id), "", { mode: 0o600 })
  }

  #unlock(id: string): void {
    const held = this.#held.get(id)
    if (held === undefined) return
    this.#held.delete(id)
    clearInterval(held.watch)
    held.file.close()
  }

  /** Of uploads that are long gone: nobody can be waiting for one of them. */
  async sweep(olderThanMs: number): Promise<void> {
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name)
      if ((await stat(path)).mtimeMs < olderThanMs) await rm(path, { force: true })
    }
  }

  #pathOf(id: string): string {
    return join(this.#folder, id)
  }

  #wantedPath(id: string): string {
    return join(this.#folder, `${id}.wanted`)
  }
}

/** Undefined while somebody else has it. */
const exclusively = (path: string): DatabaseSync | undefined => {
  const file = new DatabaseSync(path, { timeout: 0 })
  try {
    file.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")
    return file
  } catch (cause) {
    file.close()
    const busy = 5
    if (cause instanceof Error && "errcode" in cause && cause.errcode === busy) return undefined
    throw cause
  }
}
