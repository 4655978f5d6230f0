// All needs of all files, sorted into 256 parts by the first two digits of their hash, on the disk: so each part of the stores is compared with its
// part of the needs, and only one part is ever in memory, however many files there are. It is removed with its scope.
import { appendFile, mkdtemp, open, readdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { FileId, Sha256 } from "@holdfast/contracts/Ids"
import { FileCommands as Limits } from "@holdfast/resilience/Limits"
import { Effect } from "effect"
import { isMissing } from "../DiskTrouble.ts"
import type { Need, Place } from "./Needs.ts"

/** `00` to `ff`. */
export const allParts: ReadonlyArray<string> = Array.from({ length: 256 }, (_, index) =>
  index.toString(16).padStart(2, "0")
)

const prefix = "verify-"

export class NeedsByHash {
  readonly #folder: string
  readonly #held = new Map<string, Array<string>>()
  #count = 0
  #flushing: Promise<void> | undefined

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** In a folder of its own below this one; what one that was killed left there goes. */
  static readonly make = (parent: string) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        for (const name of await readdir(parent)) {
          if (isLeftBehind(name)) await rm(join(parent, name), { recursive: true, force: true })
        }
        return new NeedsByHash(await mkdtemp(join(parent, `${prefix}${process.pid}-`)))
      }),
      (needs) => Effect.promise(() => rm(needs.#folder, { recursive: true, force: true }))
    )

  async add(needs: ReadonlyArray<Need>): Promise<void> {
    for (const need of needs) {
      const part = need.sha256.slice(0, 2)
      const lines = this.#held.get(part) ?? []
      lines.push(lineOf(need))
      this.#held.set(part, lines)
    }
    this.#count += needs.length
    if (this.#count >= Limits.gatheredReferencesMax) await this.#flush()
  }

  /** By store and hash. */
  async part(digits: string): Promise<Readonly<Record<Place, ReadonlyMap<Sha256, ReadonlyArray<Need>>>>> {
    if (this.#count > 0) await this.#flush()
    const found = { quarantine: new Map<Sha256, Array<Need>>(), released: new Map<Sha256, Array<Need>>() }
    const file = await open(join(this.#folder, digits)).catch((error) => {
      if (isMissing(error)) return null
      throw error
    })
    if (file === null) return found
    for await (const line of file.readLines()) {
      const need = needFrom(line)
      const known = found[need.place].get(need.sha256)
      if (known === undefined) found[need.place].set(need.sha256, [need])
      else known.push(need)
    }
    return found
  }

  /** Who asks for parts at once waits for the same. */
  #flush(): Promise<void> {
    this.#flushing ??= this.#flushHeld().finally(() => {
      this.#flushing = undefined
    })
    return this.#flushing
  }

  async #flushHeld(): Promise<void> {
    for (const [part, lines] of this.#held) await appendFile(join(this.#folder, part), lines.join(""), { mode: 0o600 })
    this.#held.clear()
    this.#count = 0
  }
}

const lineOf = ({ fileId, place, sha256, sizeBytes, state }: Need) =>
  `${sha256} ${place} ${sizeBytes} ${fileId} ${state}\n`

const needFrom = (line: string): Need => {
  const [sha256 = "", place, sizeBytes, fileId = "", state = ""] = line.split(" ")
  return {
    sha256: Sha256.make(sha256),
    place: place === "released" ? "released" : "quarantine",
    sizeBytes: Number(sizeBytes),
    fileId: FileId.make(fileId),
    state
  }
}

const isLeftBehind = (name: string): boolean => {
  const [, pid] = new RegExp(`^${prefix}(\\d+)-`).exec(name) ?? []
  if (pid === undefined) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "ESRCH"
  }
}
