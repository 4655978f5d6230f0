// How much memory each process of the desk holds, sampled while a drill runs. Every series is bounded: when it is full every second sample
// goes and the next ones come half as often.
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { Drill } from "@holdfast/resilience/Limits"
import { ByteSize, Duration } from "effect"

export interface MemorySeries {
  readonly process: string
  /** Started again meanwhile: its memory says nothing about growth. */
  readonly restarted: boolean
  readonly samples: ReadonlyArray<MemorySample>
}

export interface MemorySample {
  readonly atMs: number
  /** Resident, with everything below it not counted. */
  readonly bytes: number
}

export interface MemoryWatch {
  sample(atMs: number, processes: ReadonlyArray<{ readonly name: string; readonly pid: number | null }>): void
  readonly series: ReadonlyArray<MemorySeries>
}

interface Kept {
  pid: number
  restarted: boolean
  everyNth: number
  turn: number
  samples: Array<MemorySample>
}

export const makeMemoryWatch = (bytesOf: (pid: number) => number | null = residentBytes): MemoryWatch => {
  const kept = new Map<string, Kept>()
  const note = (atMs: number, name: string, pid: number) => {
    const known = kept.get(name) ?? { pid, restarted: false, everyNth: 1, turn: 0, samples: [] }
    kept.set(name, known)
    if (known.pid !== pid) known.restarted = true
    known.pid = pid
    const bytes = known.turn++ % known.everyNth === 0 ? bytesOf(pid) : null
    if (bytes === null) return
    known.samples.push({ atMs, bytes })
    if (known.samples.length < Drill.memorySamplesMax) return
    known.samples = known.samples.filter((_, index) => index % 2 === 0)
    known.everyNth *= 2
  }
  return {
    sample: (atMs, processes) => {
      for (const { name, pid } of processes) if (pid !== null) note(atMs, name, pid)
    },
    get series() {
      return [...kept].map(([process, { restarted, samples }]) => ({ process, restarted, samples }))
    }
  }
}

const residentBytes = (pid: number): number | null => {
  try {
    if (process.platform !== "linux") return Number(execFileSync("ps", ["-o", "rss=", "-p", String(pid)])) * 1024
    const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? []
    return kibibytes === undefined ? null : Number(kibibytes) * 1024
  } catch {
    return null
  }
}

export interface MemoryFigures {
  readonly process: string
  readonly startBytes: number
  readonly maxBytes: number
  readonly endBytes: number
  /** Of a straight line through the outage, without its first tenth. */
  readonly bytesPerMinute: number
  /** How far the peak of the outage's second half lies above the peak of its first. */
  readonly growthBytes: number
  /** Null: the process was started again, or the outage was too short to tell. */
  readonly flat: boolean | null
}

export const memoryFigures = (
  { process, restarted, samples }: MemorySeries,
  outage: { readonly fromMs: number; readonly toMs: number }
): MemoryFigures => {
  const settledMs = outage.fromMs + (outage.toMs - outage.fromMs) / 10
  const during = samples.filter(({ atMs }) => atMs >= settledMs && atMs <= outage.toMs)
  const perMs = slopeOf(during)
  // A heap climbs until it is swept, so where a straight line ends depends on where the outage began: what does not grow has level peaks.
  const middleMs = (settledMs + outage.toMs) / 2
  const growthBytes =
    peakOf(during.filter(({ atMs }) => atMs > middleMs)) - peakOf(during.filter(({ atMs }) => atMs <= middleMs))
  const startBytes = samples.findLast(({ atMs }) => atMs <= outage.fromMs)?.bytes ?? samples[0]?.bytes ?? 0
  const allowed = Math.max(ByteSize.toNumberUnsafe(Drill.memoryGrowthBytesMax), startBytes * Drill.memoryGrowthShareMax)
  const isJudged = !restarted && outage.toMs - outage.fromMs >= Duration.toMillis(Drill.memoryJudgedFrom)
  return {
    ...{ process, startBytes, growthBytes },
    maxBytes: peakOf(samples),
    endBytes: samples.at(-1)?.bytes ?? 0,
    bytesPerMinute: perMs * 60_000,
    flat: isJudged ? growthBytes <= allowed : null
  }
}

const peakOf = (samples: ReadonlyArray<MemorySample>): number => Math.max(0, ...samples.map(({ bytes }) => bytes))

/** Least squares; 0 for fewer than two. */
export const slopeOf = (samples: ReadonlyArray<MemorySample>): number => {
  if (samples.length < 2) return 0
  const mean = (of: (sample: MemorySample) => number) =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length
  const atMean = mean(({ atMs }) => atMs)
  const bytesMean = mean(({ bytes }) => bytes)
  const spread = samples.reduce((sum, { atMs }) => sum + (atMs - atMean) ** 2, 0)
  const shared = samples.reduce((sum, { atMs, bytes }) => sum + (atMs - atMean) * (bytes - bytesMean), 0)
  return spread === 0 ? 0 : shared / spread
}
