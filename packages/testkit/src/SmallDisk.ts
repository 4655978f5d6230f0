// A file system of a few megabytes that a test can fill, empty and make read-only: ext4 in a file, or tmpfs where the machine has no loop
// device. Needs Linux and root. It is unmounted and gone with the scope; what a crashed run left is cleared by the next one.
import { type FileHandle, mkdir, open, readdir, rm, statfs } from "node:fs/promises"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { isAbandoned, type MeansMissing, ownedName, requireRoot, runProgram } from "./Means.ts"

export interface SmallDisk {
  /** Where it is mounted; anybody may write. */
  readonly path: string
  readonly kind: "ext4" | "tmpfs"
  /** Takes everything but so many bytes; roughly, since a file system counts in blocks. */
  fill(leaveBytes?: number): Effect.Effect<void>
  /** Gives back what was taken. */
  readonly free: Effect.Effect<void>
  setReadOnly(isReadOnly: boolean): Effect.Effect<void>
}

const means = "A small disk"
// Not among the temporary files: those may be in memory, and PostgreSQL's user must reach it.
const parent = "/var/tmp"
const folderPrefix = "disk-"

export const makeSmallDisk = (sizeBytes: number): Effect.Effect<SmallDisk, MeansMissing, Scope.Scope> =>
  Effect.gen(function* () {
    yield* requireRoot(means)
    yield* clearAbandoned
    const folder = yield* Effect.acquireRelease(makeFolder, removeFolder)
    const path = join(folder, "mounted")
    const kind = yield* Effect.acquireRelease(
      mountExt4(folder, path, sizeBytes).pipe(Effect.catch(() => mountTmpfs(path, sizeBytes))),
      () => unmount(path)
    )
    yield* run("chmod", ["0777", path])
    const ballast = join(path, "ballast")
    const disk: SmallDisk = {
      path,
      kind,
      fill: (leaveBytes = 0) =>
        Effect.andThen(
          reserve(ballast, path, leaveBytes),
          Effect.promise(() => fill(ballast, path, leaveBytes))
        ),
      free: Effect.promise(() => rm(ballast, { force: true })),
      setReadOnly: (isReadOnly) => Effect.orDie(run("mount", ["-o", `remount,${isReadOnly ? "ro" : "rw"}`, path]))
    }
    return disk
  })

const run = (program: string, args: ReadonlyArray<string>) => runProgram(means, program, args)

const makeFolder = Effect.gen(function* () {
  const folder = join(parent, folderPrefix + (yield* ownedName))
  yield* Effect.promise(() => mkdir(join(folder, "mounted"), { recursive: true, mode: 0o755 }))
  return folder
})

const removeFolder = (folder: string) => Effect.promise(() => rm(folder, { recursive: true, force: true }))

/** No blocks are kept for root, so that full means full for everybody. */
const mountExt4 = Effect.fnUntraced(function* (folder: string, path: string, sizeBytes: number) {
  const image = join(folder, "image")
  yield* run("truncate", ["-s", String(sizeBytes), image])
  yield* run("mkfs.ext4", ["-q", "-m", "0", image])
  yield* run("mount", ["-o", "loop", image, path])
  return "ext4" as const
})

const mountTmpfs = (path: string, sizeBytes: number) =>
  Effect.as(run("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes}`, "tmpfs", path]), "tmpfs" as const)

/** Lazily: a process that still holds a file does not keep the mount in everybody's way. */
const unmount = (path: string) => Effect.orDie(run("umount", ["-l", path]))

const clearAbandoned = Effect.gen(function* () {
  const names = yield* Effect.promise(() => readdir(parent))
  for (const name of names.filter((one) => one.startsWith(folderPrefix))) {
    if (!(yield* isAbandoned(name.slice(folderPrefix.length)))) continue
    const folder = join(parent, name)
    // It may never have been mounted, or somebody else is clearing the same.
    yield* Effect.ignore(run("umount", ["-l", join(folder, "mounted")]))
    yield* removeFolder(folder)
  }
})

/** Most of it without writing it; `fill` does the rest. */
const reserve = Effect.fnUntraced(function* (ballast: string, path: string, leaveBytes: number) {
  const bytes = (yield* Effect.promise(() => freeBytes(path))) - leaveBytes - pieces[0]
  if (bytes > 0) yield* Effect.ignore(run("fallocate", ["-l", String(bytes), ballast]))
})

// The last is the smallest block that a file system counts in.
const pieces = [1024 * 1024, 1024] as const
// What was put aside for bookkeeping becomes room once the bytes are on the disk.
const rounds = 3

const fill = async (ballast: string, path: string, leaveBytes: number): Promise<void> => {
  const file = await open(ballast, "a")
  try {
    for (let round = 0; round < rounds; round++) {
      for (const pieceBytes of pieces) await fillWith(file, Buffer.alloc(pieceBytes, 1), path, leaveBytes)
      await file.datasync()
    }
  } finally {
    await file.close()
  }
}

const fillWith = async (file: FileHandle, piece: Buffer, path: string, leaveBytes: number): Promise<void> => {
  try {
    while (leaveBytes === 0 || (await freeBytes(path)) - piece.length >= leaveBytes) await file.write(piece)
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error
  }
}

const freeBytes = async (path: string): Promise<number> => {
  const { bavail, bsize } = await statfs(path)
  return bavail * bsize
}
