// A whole desk for a test: `holdfast up` as a process of its own, on a data folder and ports of its own.
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { isRunning } from "@holdfast/database/embedded/ProcessTree"
import { Effect } from "effect"
import { pickPrivatePort } from "../src/supervisor/Ports.ts"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

const portVariables = [
  "HOLDFAST_COMMAND_PORT",
  "HOLDFAST_GRPC_PORT",
  "HOLDFAST_QUERY_PORT",
  "HOLDFAST_REALTIME_PORT",
  "HOLDFAST_FILE_PORT",
  "HOLDFAST_EVENT_WORKER_PORT",
  "HOLDFAST_FILE_WORKER_PORT"
]

export type Environment = Readonly<Record<string, string>>

export const deskEnvironment = async (dataDir: string): Promise<Environment> => {
  const ports = await Promise.all(
    portVariables.map(async (name) => [name, String(await Effect.runPromise(pickPrivatePort("127.0.0.1")))])
  )
  return { HOLDFAST_DATA_DIR: dataDir, ...Object.fromEntries(ports) }
}

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Invocation {
  readonly child: ChildProcess
  readonly pid: number
  readonly ended: Promise<Ended>
  readonly firstLine: Promise<string>
}

export const holdfast = (environment: Environment, ...args: ReadonlyArray<string>): Invocation => {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith("HOLDFAST_"))
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...Object.fromEntries(clean), ...environment },
    stdio: ["ignore", "pipe", "pipe"]
  })
  const output = { stdout: "", stderr: "" }
  const firstLine = new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (chunk) => {
      output.stdout += chunk
      if (output.stdout.includes("\n")) resolve(output.stdout.slice(0, output.stdout.indexOf("\n")))
    })
    child.once("close", () => reject(new Error(`holdfast ${args.join(" ")} said nothing but: ${output.stderr}`)))
  })
  firstLine.catch(() => undefined)
  child.stderr.setEncoding("utf8").on("data", (chunk) => {
    output.stderr += chunk
  })
  const ended = once(child, "close").then(([code]) => ({ code, ...output }))
  return { child, pid: child.pid ?? 0, ended, firstLine }
}

export interface Ready {
  readonly adminToken: string
  readonly addresses: ReadonlyArray<{ readonly name: string; readonly url: string }>
}

export const startDesk = async (environment: Environment): Promise<Invocation & { readonly ready: Ready }> => {
  const desk = holdfast(environment, "up", "--json")
  return { ...desk, ready: JSON.parse(await desk.firstLine) }
}

export const isThere = (pid: number): boolean => pid > 1 && isRunning(pid)

/** Until it holds; the test's own time limit is the only one. */
export const until = async (holds: () => boolean | Promise<boolean>): Promise<void> => {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 50))
}
