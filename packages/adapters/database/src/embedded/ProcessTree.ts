// Signals for a process and everything below it. PostgreSQL's children lead process groups of their own, so a signal to the
// group of the first one does not reach them.
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"

/** Looks first and signals then: the children of a killed process are nobody's that could be found. */
export const signalTree = (pid: number, signal: NodeJS.Signals): void => {
  for (const one of [pid, ...processesBelow(pid)]) signalOne(one, signal)
}

/** Children first, then theirs. */
export const processesBelow = (pid: number): ReadonlyArray<number> => descendants(pid, parents())

/** True when the signal reached a process; one that is gone is no error. */
export const signalOne = (pid: number, signal: NodeJS.Signals | 0): boolean => {
  // 0 and below mean groups and everybody, and 1 is the system itself.
  if (pid <= 1) throw new RangeError(`${pid} is not a process of ours`)
  try {
    return process.kill(pid, signal)
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ESRCH") return false
    throw cause
  }
}

/** False also for one that has ended and that nobody has asked about, as stays for ever where process 1 is no init: in many containers. */
export const isRunning = (pid: number): boolean => signalOne(pid, 0) && !isZombie(pid)

const isZombie = (pid: number): boolean => {
  if (process.platform !== "linux") return false
  const stat = statOf(String(pid))
  return stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z")
}

type Parents = ReadonlyMap<number, number>

const descendants = (pid: number, parentOf: Parents): ReadonlyArray<number> => {
  const children = [...parentOf].flatMap(([child, parent]) => (parent === pid ? [child] : []))
  return [...children, ...children.flatMap((child) => descendants(child, parentOf))]
}

const parents = (): Parents => {
  if (process.platform !== "linux") return parseParents(execFileSync("ps", ["-A", "-o", "pid=,ppid="]).toString())
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name))
  return parseParents(pids.map((pid) => pidAndParent(statOf(pid))).join("\n"))
}

const statOf = (pid: string): string => {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8")
  } catch {
    // It ended between the listing and this.
    return ""
  }
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
