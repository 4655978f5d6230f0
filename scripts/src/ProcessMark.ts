// Knows a process again. An id alone is reused sooner or later; together with the time at which the process began it is
// not, so that nothing is ever done to a process that is not ours.
import { readFileSync } from "node:fs"

export interface ProcessMark {
  readonly pid: number
  readonly startedAt: string
}

export const markOf = (pid: number): ProcessMark => ({ pid, startedAt: startOf(pid) ?? "" })

export const isAlive = ({ pid, startedAt }: ProcessMark): boolean => startOf(pid) === startedAt

// Linux tells when a process began; elsewhere the id alone has to do.
const startOf = (pid: number): string | undefined => {
  if (process.platform !== "linux") return exists(pid) ? "unknown" : undefined
  try {
    const [state, ...fields] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? []
    return state === "Z" ? undefined : fields[18]
  } catch {
    return undefined
  }
}

const exists = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
