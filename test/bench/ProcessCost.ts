// What a process costs, from what Linux tells of it: memory at its highest, and processor time.
import { readFileSync } from "node:fs"

const ticksPerSecond = 100
const pageBytes = 4096

export const cpuSecondsOf = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  // User and system time, in ticks.
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

export const residentBytesOf = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]) * pageBytes

/** By how much its memory grows while something is done, at its highest. */
export const growthDuring = async (pid: number, work: Promise<unknown>): Promise<number> => {
  const before = residentBytesOf(pid)
  let highest = before
  const look = setInterval(() => {
    highest = Math.max(highest, residentBytesOf(pid))
  }, 50)
  try {
    await work
  } finally {
    clearInterval(look)
  }
  return highest - before
}
