// The folder in which one run of the tests or benches keeps its files, named after its process so that two runs never
// share one, and so that a later run can clear away what a crashed one could not.
import { randomUUID } from "node:crypto"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { endLeftovers, findLeftovers } from "./Leftovers.ts"
import { clearAbandonedPostgres } from "./PostgresServer.ts"
import { isAlive, markOf } from "./ProcessMark.ts"
import { endStack } from "./StackState.ts"

export interface RunFolder {
  readonly folder: string
  /** What every process of this run carries in its environment. */
  readonly mark: string
}

export const newRunFolder = (root: string): RunFolder => {
  const folder = join(runsFolder(root), `run-${process.pid}`)
  const mark = randomUUID()
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, markFile), mark)
  return { folder, mark }
}

/** Ends what is left of this run and removes its files. */
export const clearRun = ({ folder, mark }: RunFolder): void => {
  endLeftovers(findLeftovers(mark))
  rmSync(folder, { recursive: true, force: true })
}

/** Ends the servers and other processes of runs that crashed and removes their files. */
export const clearCrashedRuns = async (root: string): Promise<void> => {
  for (const name of existsSync(runsFolder(root)) ? readdirSync(runsFolder(root)) : []) {
    const pid = /^run-(\d+)$/.exec(name)?.[1]
    if (pid === undefined || isAlive(markOf(Number(pid)))) continue
    const folder = join(runsFolder(root), name)
    await endStack(join(folder, "servers"))
    if (existsSync(join(folder, markFile))) clearRun({ folder, mark: readFileSync(join(folder, markFile), "utf8") })
    rmSync(folder, { recursive: true, force: true })
  }
  clearAbandonedPostgres()
}

const markFile = "mark"

const runsFolder = (root: string): string => join(root, ".test")
