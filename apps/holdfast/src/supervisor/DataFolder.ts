// Everything that the desk writes lies under one folder, which only its account can enter. Checked before anything starts, so that a full
// disk or a folder of somebody else's is one sentence now and not six processes failing later.
import { chmod, mkdir, open, statfs, unlink } from "node:fs/promises"
import { join } from "node:path"
import { Supervisor } from "@holdfast/resilience/Limits"
import { ByteSize, Effect } from "effect"
import { refuse } from "../Refusal.ts"

export interface DataFolder {
  readonly root: string
  readonly postgres: string
  readonly keys: string
  readonly logs: string
  readonly run: string
}

export const dataFolderAt = (root: string): DataFolder => ({
  root,
  postgres: join(root, "postgres"),
  keys: join(root, "keys"),
  logs: join(root, "logs"),
  run: join(root, "run")
})

export const logFileOf = (folder: DataFolder, name: string): string => join(folder.logs, `${name}.log`)

export const prepareDataFolder = (root: string) =>
  Effect.tryPromise({
    try: async () => {
      const folder = dataFolderAt(root)
      await mkdir(root, { recursive: true, mode: 0o700 })
      for (const path of [folder.keys, folder.logs, folder.run]) {
        await mkdir(path, { recursive: true })
        await chmod(path, 0o700)
      }
      await probe(join(folder.run, "probe"))
      return folder
    },
    catch: (cause) => refuse(folderSentence(root, cause))
  }).pipe(Effect.tap(() => checkFreeSpace(root)))

/** Full disks and read-only ones show only when something is written and flushed. */
const probe = async (file: string): Promise<void> => {
  const handle = await open(file, "w", 0o600)
  try {
    await handle.writeFile(Buffer.alloc(4096, 1))
    await handle.sync()
  } finally {
    await handle.close()
    await unlink(file)
  }
}

const checkFreeSpace = (root: string) =>
  Effect.gen(function* () {
    const { bavail, bsize } = yield* Effect.promise(() => statfs(root))
    const sentence = freeSpaceSentence(root, bavail * bsize)
    if (sentence !== null) return yield* refuse(sentence)
  })

export const freeSpaceSentence = (root: string, freeBytes: number): string | null => {
  const needed = ByteSize.toNumberUnsafe(Supervisor.diskFreeMin)
  if (freeBytes >= needed) return null
  const inMebibytes = (bytes: number) => `${Math.floor(bytes / 1024 ** 2)} MiB`
  return `The disk of ${root} is full: ${inMebibytes(freeBytes)} free and the desk needs ${inMebibytes(needed)} to start. Free some space, or set HOLDFAST_DATA_DIR to another disk.`
}

export const folderSentence = (root: string, cause: unknown): string => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  const elsewhere = "or set HOLDFAST_DATA_DIR to a folder that this account can write."
  if (code === "ENOSPC" || code === "EDQUOT") return `The disk of ${root} is full: free some space, ${elsewhere}`
  if (code === "EACCES" || code === "EPERM")
    return `This account may not write in ${root}: change its owner, ${elsewhere}`
  if (code === "EROFS") return `${root} is on a read-only disk: mount it for writing, ${elsewhere}`
  if (code === "ENOTDIR" || code === "EEXIST") return `${root} is not a folder: move the file away, ${elsewhere}`
  return `${root} cannot be used: ${cause instanceof Error ? cause.message : String(cause)}`
}
