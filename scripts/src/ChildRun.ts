// Runs one program to its end on behalf of a longer run. The program leads a process group of its own, so that aborting
// the run ends the program with everything it started, and on Linux it ends with us however we end.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { constants } from "node:os"
import { findExecutable } from "./Binaries.ts"
import { signalGroup } from "./ServerProcess.ts"

export interface ChildRun {
  readonly exitCode: number
  /** What it printed, where it was not shown at once. */
  readonly output: string
}

export interface ChildOptions {
  readonly cwd: string
  /** Added to ours; undefined removes a variable. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** Shows the output as it comes instead of collecting it. */
  readonly show?: boolean
  readonly signal: AbortSignal
}

const killDelayMs = 10_000

export const runChild = async (command: ReadonlyArray<string>, options: ChildOptions): Promise<ChildRun> => {
  options.signal.throwIfAborted()
  const guard = process.platform === "linux" ? findExecutable("setpriv") : undefined
  const [file = "", ...args] = guard === undefined ? command : [guard, "--pdeathsig", "KILL", "--", ...command]
  const child = spawn(file, args, {
    cwd: options.cwd,
    detached: true,
    env: { ...process.env, ...options.environment },
    stdio: ["ignore", ...(options.show === true ? (["inherit", "inherit"] as const) : (["pipe", "pipe"] as const))]
  })
  const chunks: Array<Buffer> = []
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => chunks.push(chunk))
  const stopWatching = endWhenAborted(child.pid, options.signal)
  const [code, signal]: ReadonlyArray<unknown> = await once(child, "close")
  stopWatching()
  options.signal.throwIfAborted()
  return { exitCode: exitCodeOf(code, signal), output: Buffer.concat(chunks).toString() }
}

const endWhenAborted = (pid: number | undefined, signal: AbortSignal): (() => void) => {
  if (pid === undefined) return () => {}
  let timer: NodeJS.Timeout | undefined
  const end = () => {
    signalGroup(pid, "SIGTERM")
    timer = setTimeout(() => signalGroup(pid, "SIGKILL"), killDelayMs)
  }
  signal.addEventListener("abort", end, { once: true })
  return () => {
    signal.removeEventListener("abort", end)
    clearTimeout(timer)
  }
}

const exitCodeOf = (code: unknown, signal: unknown): number => {
  if (typeof code === "number") return code
  const number = Object.entries(constants.signals).find(([name]) => name === signal)?.[1]
  return 128 + (number ?? 0)
}
