// Finds what a test run left behind. Every process started by a test inherits the run's mark in its environment, however
// often it forks or changes its group; whoever still carries the mark when the tests are over was forgotten by one.
import { readdirSync, readFileSync } from "node:fs"

export interface Leftover {
  readonly pid: number
  readonly command: string
}

/** The variable that carries the mark. */
export const runMarkVariable = "HOLDFAST_TEST_RUN"

/** On Linux the processes with this mark, otherwise none: other systems do not show a process's environment. */
export const findLeftovers = (mark: string): ReadonlyArray<Leftover> => {
  if (process.platform !== "linux") return []
  const pids = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
  return pids
    .filter((pid) => pid !== process.pid && readProc(pid, "environ").includes(`${runMarkVariable}=${mark}`))
    .map((pid) => ({ pid, command: readProc(pid, "cmdline").join(" ").trim() }))
}

/** Ends them at once and for good. */
export const endLeftovers = (leftovers: ReadonlyArray<Leftover>): void => {
  for (const { pid } of leftovers) {
    try {
      process.kill(pid, "SIGKILL")
    } catch (cause) {
      if (!(cause instanceof Error && "code" in cause && cause.code === "ESRCH")) throw cause
    }
  }
}

// A process that ended meanwhile, or belongs to somebody else, has nothing to say.
const readProc = (pid: number, file: string): ReadonlyArray<string> => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8").split("\0")
  } catch {
    return []
  }
}
