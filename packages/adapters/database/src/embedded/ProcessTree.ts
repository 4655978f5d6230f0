// Signals for a process and everything below it. PostgreSQL's children lead process groups of their own, so a signal to the
// group of the first one does not reach them.
import { execFile } from "node:child_process"
import { readdir, readFile } from "node:fs/promises"
import { promisify } from "node:util"

const run = promisify(execFile)

/** Sends the signal to the process first, so that it starts no new children, then to its descendants. */
export const signalTree = async (pid: number, signal: NodeJS.Signals): Promise<void> => {
  signalOne(pid, signal)
  for (const child of descendants(pid, await parents())) signalOne(child, signal)
}

/** True when the signal reached a process; one that is gone is no error. */
export const signalOne = (pid: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(pid, signal)
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ESRCH") return false
    throw cause
  }
}

export type Parents = ReadonlyMap<number, number>

/** Every process below this one, nearest first. */
export const descendants = (pid: number, parentOf: Parents): ReadonlyArray<number> => {
  const children = [...parentOf].flatMap(([child, parent]) => (parent === pid ? [child] : []))
  return [...children, ...children.flatMap((child) => descendants(child, parentOf))]
}

const parents = async (): Promise<Parents> => {
  if (process.platform !== "linux") return parseParents((await run("ps", ["-A", "-o", "pid=,ppid="])).stdout)
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name))
  const stats = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, "utf8").catch(() => "")))
  return parseParents(stats.map(pidAndParent).join("\n"))
}

/** `/proc/<pid>/stat` is `pid (name) state parent ...`, and the name may hold spaces and brackets. */
const pidAndParent = (stat: string): string => {
  const [, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return `${stat.split(" ", 1)[0]} ${parent}`
}

const parseParents = (table: string): Parents =>
  new Map(
    table.split("\n").flatMap((line): ReadonlyArray<[number, number]> => {
      const [pid, parent] = line.trim().split(/\s+/).map(Number)
      return pid !== undefined && parent !== undefined && pid > 0 ? [[pid, parent]] : []
    })
  )
