// The resident memory of the desk's processes over a drill, from the kernel, every few seconds. (proc(5): VmRSS, in KiB.)
import { readFileSync } from "node:fs"
import { Effect, Schedule } from "effect"
import type { DrillDesk } from "./DrillDesk.ts"

export interface MemoryUse {
  readonly name: string
  /** MiB. A killed process begins anew, so the first is the median of the first ten looks, the last of the last ten. */
  readonly first: number
  readonly last: number
  readonly most: number
}

/** Until the scope ends. */
export const watchMemory = Effect.fnUntraced(function* (desk: DrillDesk) {
  const seen = new Map<string, Array<number>>()
  const look = Effect.map(desk.processes, (all) => {
    for (const { name, pid } of all) {
      const mebibytes = pid === null ? undefined : residentMebibytes(pid)
      if (mebibytes !== undefined) seen.set(name, [...(seen.get(name) ?? []), mebibytes])
    }
  })
  yield* Effect.forkScoped(Effect.repeat(look, Schedule.spaced("5 seconds")))
  return (): ReadonlyArray<MemoryUse> =>
    [...seen].map(([name, all]) => ({
      name,
      first: median(all.slice(0, 10)),
      last: median(all.slice(-10)),
      most: Math.max(...all)
    }))
})

/** `undefined` when it has just ended. */
const residentMebibytes = (pid: number): number | undefined => {
  try {
    const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
    return line === undefined ? undefined : Number(line) / 1024
  } catch {
    return undefined
  }
}

const median = (all: ReadonlyArray<number>): number => all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)] ?? 0
