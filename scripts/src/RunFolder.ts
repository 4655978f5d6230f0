// The folder in which one run of the tests or benches keeps its files, named after its process so that two runs never
// share one, and so that a later run can clear away what a crashed one could not.
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import { endStack, isAlive, markOf } from "./StackState.ts"

export const newRunFolder = (root: string): string => {
  const folder = join(runsFolder(root), `run-${process.pid}`)
  mkdirSync(folder, { recursive: true })
  return folder
}

/** Ends the servers and removes the files of runs whose process is gone. */
export const clearCrashedRuns = async (root: string): Promise<void> => {
  for (const name of existsSync(runsFolder(root)) ? readdirSync(runsFolder(root)) : []) {
    const pid = /^run-(\d+)$/.exec(name)?.[1]
    if (pid === undefined || isAlive(markOf(Number(pid)))) continue
    await endStack(join(runsFolder(root), name, "servers"))
    rmSync(join(runsFolder(root), name), { recursive: true, force: true })
  }
}

const runsFolder = (root: string): string => join(root, ".test")
