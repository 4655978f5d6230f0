// One private server as a process of its own: started from a plan, ready only once it answers in its own protocol, ended
// by its process group. It promises that nothing outlives the process that started it: on Linux the kernel itself ends
// the server when its parent dies, elsewhere the host's exit handler does.
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs"
import { createConnection } from "node:net"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { isRunning, processesBelow, signalOne } from "@holdfast/database/embedded/ProcessTree"
import { findExecutable } from "./Binaries.ts"

/** All that is needed to start one server; made by the file that knows this server. */
export interface ServerPlan {
  readonly name: string
  readonly port: number
  /** What a client connects to. */
  readonly url: string
  readonly folder: string
  /** Run once before the first start: folders, configuration, an empty database. */
  readonly prepare: () => Promise<void>
  readonly command: readonly [string, ...ReadonlyArray<string>]
  readonly environment: Readonly<Record<string, string>>
  /** Another user than ours; PostgreSQL refuses to run as root. */
  readonly user: { readonly uid: number; readonly gid: number } | undefined
  /** A greeting in the server's protocol and how the answer of a ready server begins. */
  readonly greeting: { readonly send: Buffer; readonly expect: Buffer }
  /** The signal for an orderly end. */
  readonly stopSignal: NodeJS.Signals
}

const readyDeadlineMs = 120_000
const stopDeadlineMs = 15_000
const killDeadlineMs = 5_000
const greetingDeadlineMs = 1_000
const greetingPauseMs = 100
const endedPauseMs = 10
const logTailLines = 15

export class ServerProcess {
  readonly plan: ServerPlan
  #child: ChildProcess | undefined
  #prepared = false

  constructor(plan: ServerPlan) {
    this.plan = plan
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  get logFile(): string {
    return join(this.plan.folder, "server.log")
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Starts the server, on the data it already has if it ran before, and returns once it answers. */
  async start(): Promise<void> {
    if (!this.#prepared) {
      mkdirSync(this.plan.folder, { recursive: true })
      await this.plan.prepare()
      this.#prepared = true
    }
    this.#child = launch(this.plan, this.logFile)
    this.#child.once("error", (cause) => {
      this.#child = undefined
      process.stderr.write(`${this.plan.name} could not be started: ${cause.message}\n`)
    })
    await this.#ready()
  }

  /** An orderly end, and after its deadline a forced one. */
  async stop(): Promise<void> {
    this.signal(this.plan.stopSignal)
    if (await this.#ended(stopDeadlineMs)) return
    await this.kill()
  }

  /** The end that a power cut brings: nothing is flushed, nothing is told. Of PostgreSQL, whose processes are groups of their own, all have ended. */
  async kill(): Promise<void> {
    const below = this.pid === undefined || !this.running ? [] : processesBelow(this.pid)
    this.signal("SIGKILL")
    for (const pid of below) signalOne(pid, "SIGKILL")
    const deadline = Date.now() + killDeadlineMs
    await this.#ended(killDeadlineMs)
    while (below.some(isRunning) && Date.now() < deadline) await pause(endedPauseMs)
    if (this.running || below.some(isRunning)) throw new Error(`${this.plan.name} survived SIGKILL.`)
  }

  /** Sends a signal to the server and everything it started: SIGSTOP hangs it with its sockets open, SIGCONT heals it. */
  signal(signal: NodeJS.Signals): void {
    const pid = this.#child?.pid
    if (pid !== undefined && this.running) signalGroup(pid, signal)
  }

  /** Resolves when the running server has ended, for whatever reason. */
  async ended(): Promise<void> {
    if (this.#child !== undefined && this.running) await once(this.#child, "exit")
  }

  async #ready(): Promise<void> {
    const deadline = Date.now() + readyDeadlineMs
    while (this.running && Date.now() < deadline) {
      if (await answers(this.plan)) return
      await pause(greetingPauseMs)
    }
    const what = this.running ? `did not answer within ${readyDeadlineMs / 1000} s` : "ended while starting"
    await this.kill()
    throw new Error(`${this.plan.name} ${what}; the end of ${this.logFile}:\n${logTail(this.logFile)}`)
  }

  async #ended(deadlineMs: number): Promise<boolean> {
    const abort = new AbortController()
    await Promise.race([this.ended(), pause(deadlineMs, undefined, { signal: abort.signal }).catch(() => {})])
    abort.abort()
    return !this.running
  }
}

/** Signals a process group by its leader; a group that is already gone is no error. */
export const signalGroup = (pid: number, signal: NodeJS.Signals): void => {
  try {
    process.kill(-pid, signal)
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "ESRCH")) throw cause
  }
}

const launch = (plan: ServerPlan, logFile: string): ChildProcess => {
  const log = openSync(logFile, "a")
  // setpriv asks the kernel to end the server with the thread that started it, then becomes the server itself.
  const guard = process.platform === "linux" ? findExecutable("setpriv") : undefined
  const [file, ...args] = guard === undefined ? plan.command : [guard, "--pdeathsig", "KILL", "--", ...plan.command]
  const child = spawn(file, args, {
    cwd: plan.folder,
    detached: true,
    env: { PATH: process.env.PATH, LANG: "C.UTF-8", ...plan.environment },
    stdio: ["ignore", log, log],
    ...plan.user
  })
  closeSync(log)
  return child
}

const answers = (plan: ServerPlan): Promise<boolean> =>
  new Promise((resolve) => {
    const { send, expect } = plan.greeting
    let received = Buffer.alloc(0)
    const socket = createConnection({ port: plan.port, host: "127.0.0.1" }, () => socket.write(send))
    const settle = (ready: boolean) => {
      socket.destroy()
      resolve(ready)
    }
    socket.setTimeout(greetingDeadlineMs, () => settle(false))
    socket.on("error", () => settle(false))
    socket.on("close", () => settle(false))
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk])
      if (received.length >= expect.length) settle(received.subarray(0, expect.length).equals(expect))
    })
  })

const logTail = (file: string): string =>
  readFileSync(file, "utf8").trimEnd().split("\n").slice(-logTailLines).join("\n")
