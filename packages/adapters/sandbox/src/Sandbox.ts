// Runs a program on a file that may be hostile, so that the worst it can do is to end itself: bounded in time, processor time, memory and
// what it writes, confined as far as this machine can (see Confinement), with none of this process's environment, which holds secrets,
// and killed with everything it started when its time is over or nobody waits for it any more.
import { type ChildProcess, spawn } from "node:child_process"
import type { FailureDomain } from "@holdfast/resilience/FailureDomain"
import { Sandbox as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { ByteSize, Duration, Effect } from "effect"
import { type Confinement, findShell, type Shell } from "./Confinement.ts"

export interface SandboxLimits {
  readonly deadline: Duration.Duration
  readonly cpuSecondsMax: number
  /** All private memory. */
  readonly dataBytesMax: ByteSize.ByteSize
  /** Each file that it writes. */
  readonly fileBytesMax: ByteSize.ByteSize
}

export interface SandboxJob {
  readonly command: readonly [program: string, ...args: ReadonlyArray<string>]
  /** The only folder in which it can leave anything, where the machine can confine that. */
  readonly folder: string
  /** Files outside of it that it may read. */
  readonly readable?: ReadonlyArray<string>
  readonly environment?: Readonly<Record<string, string>>
  readonly limits: SandboxLimits
  /** Whose failure it is when the program cannot be started. */
  readonly dependency: FailureDomain
}

export interface Ended {
  readonly output: string
  readonly code: number
  /** It met one of its limits or crashed. */
  readonly wasKilled: boolean
  readonly ranOutOfTime: boolean
}

/** How programs are confined here; part of the name of every tool that runs so. */
export const confinement: Effect.Effect<Confinement> = Effect.map(
  Effect.promise(findShell),
  (shell) => shell.confinement
)

export const runConfined = (job: SandboxJob): Effect.Effect<Ended, Unavailable> =>
  Effect.flatMap(Effect.promise(findShell), (shell) => run(shell, job))

const run = (shell: Shell, job: SandboxJob): Effect.Effect<Ended, Unavailable> =>
  Effect.callback<Ended, Unavailable>((resume) => {
    const child = start(shell, job)
    let output = ""
    let ranOutOfTime = false
    const timer = setTimeout(() => {
      ranOutOfTime = true
      kill(child)
    }, Duration.toMillis(job.limits.deadline))
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString("utf8")
      if (output.length > Limits.outputLengthMax) kill(child)
    })
    child.once("error", () => resume(Effect.fail(notStarted(job))))
    child.once("close", (code) => {
      clearTimeout(timer)
      resume(Effect.succeed({ output, ranOutOfTime, ...howItEnded(code) }))
    })
    return Effect.sync(() => {
      clearTimeout(timer)
      kill(child)
    })
  })

const notStarted = (job: SandboxJob): Unavailable =>
  new Unavailable({
    dependency: job.dependency,
    reason: "refused",
    retryAfterMs: Duration.toMillis(Limits.retryDelay),
    detail: "the child process could not be started"
  })

/** Shells and bubblewrap pass a signal on as 128 and its number. */
const howItEnded = (code: number | null) => ({ code: code ?? 128, wasKilled: code === null || code >= 128 })

const bytes = ByteSize.toNumberUnsafe

/** A shell sets what Node cannot: limits that the kernel keeps. What a system does not know (memory on macOS) it leaves out. */
const limited = ({ cpuSecondsMax, dataBytesMax, fileBytesMax }: SandboxLimits): string =>
  [
    `ulimit -t ${cpuSecondsMax}`,
    `ulimit -f ${Math.ceil(bytes(fileBytesMax) / 512)}`,
    `ulimit -d ${Math.ceil(bytes(dataBytesMax) / 1024)}`,
    "ulimit -c 0",
    // It leads a session; where the kernel shares processors between sessions, this one is to stand where this process stands.
    'test ! -w /proc/self/autogroup || echo "$(nice)" > /proc/self/autogroup'
  ]
    .map((line) => `${line} 2>/dev/null || :`)
    .join("; ")

const start = (
  shell: Shell,
  { command, environment = {}, folder, limits, readable = [] }: SandboxJob
): ChildProcess => {
  const assignments = Object.entries(environment).map(([name, value]) => `${name}=${value}`)
  return spawn(
    "/bin/sh",
    [
      ...["-c", `${limited(limits)}; exec "$@"`, "sh"],
      ...shell.prefix(folder, readable),
      ...["/usr/bin/env", "-i", ...assignments, ...command]
    ],
    // A group of its own, so that all of it can be ended.
    { detached: true, cwd: folder, env: {}, stdio: ["ignore", "pipe", "ignore"] }
  )
}

const kill = (child: ChildProcess): void => {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(-child.pid, "SIGKILL")
  } catch (error) {
    // Ended in the same moment.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error
  }
}
