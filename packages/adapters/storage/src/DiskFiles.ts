// What a blob store asks of a disk, one durable step at a time. Tests put a disk in its place that loses power between any two of them.
import { chmod, type FileHandle, link, mkdir, open, readdir, rename, rm, stat, statfs, utimes } from "node:fs/promises"
import { diskNowMs } from "./DiskClock.ts"

export interface DiskFile {
  /** All of it, at the end. */
  readonly write: (chunk: Uint8Array) => Promise<void>
  /** How many bytes there were. */
  readonly read: (into: Uint8Array, position: number) => Promise<number>
  readonly sync: () => Promise<void>
  readonly close: () => Promise<void>
}

/** Fails with what Node's own calls fail with. */
export interface DiskFiles {
  /** A new one. */
  readonly create: (path: string) => Promise<DiskFile>
  readonly open: (path: string) => Promise<DiskFile>
  /** With every folder above it. */
  readonly makeFolder: (path: string) => Promise<void>
  /** What was put into it, renamed or removed in it outlives a power cut. */
  readonly syncFolder: (path: string) => Promise<void>
  readonly rename: (from: string, to: string) => Promise<void>
  readonly link: (from: string, to: string) => Promise<void>
  /** Removing what is not there is no error. */
  readonly remove: (path: string) => Promise<void>
  readonly stat: (path: string) => Promise<{ readonly size: number; readonly mtimeMs: number }>
  /** Gives it the disk's time; every process that shares the disk may have a wrong one of its own. */
  readonly touch: (path: string) => Promise<void>
  readonly names: (folder: string) => Promise<ReadonlyArray<string>>
  readonly freeBytes: (folder: string) => Promise<number>
  readonly nowMs: (folder: string) => Promise<number>
}

export const nodeFiles: DiskFiles = {
  create: async (path) => fileOf(await open(path, "wx", 0o600)),
  open: async (path) => fileOf(await open(path, "r")),
  makeFolder: async (path) => void (await mkdir(path, { recursive: true, mode: 0o700 })),
  syncFolder: async (path) => {
    const folder = await open(path, "r")
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  },
  rename,
  link,
  remove: (path) => rm(path, { force: true }),
  stat,
  touch: async (path) => {
    await chmod(path, 0o600)
    const { ctime } = await stat(path)
    await utimes(path, ctime, ctime)
  },
  names: readdir,
  freeBytes: async (folder) => {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  },
  nowMs: diskNowMs
}

const fileOf = (file: FileHandle): DiskFile => ({
  write: async (chunk) => {
    let written = 0
    while (written < chunk.length) written += (await file.write(chunk, written, chunk.length - written)).bytesWritten
  },
  read: async (into, position) => (await file.read(into, 0, into.length, position)).bytesRead,
  sync: () => file.sync(),
  close: () => file.close()
})
