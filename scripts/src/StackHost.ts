// A process that does nothing but keep a stack: `serveStack` is its inside, `hostStack` its outside. The host ends its
// servers on a signal and, unless it was detached, as soon as the pipe from its parent closes, which the kernel does for
// a parent that crashed.
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { isAlive, markOf } from "./ProcessMark.ts"
import { type ServerName, type Stack, startStack } from "./Stack.ts"
import { endStack, readState, type StackState, stateOf, writeState } from "./StackState.ts"

export interface HostOptions {
  readonly folder: string
  readonly only: ReadonlyArray<ServerName>
  /** A detached host lives until it is told to end. */
  readonly detached: boolean
}

export interface HostedStack {
  readonly state: StackState
  /** Ends the servers and their host. */
  readonly stop: () => Promise<void>
}

const readyDeadlineMs = 150_000
const readyPauseMs = 50
const program = resolve(import.meta.dirname, "..", "stack.ts")

/** Starts a host and returns once its servers answer. */
export const hostStack = async (options: HostOptions): Promise<HostedStack> => {
  await refuseOrClear(options.folder)
  mkdirSync(options.folder, { recursive: true })
  const logFile = join(options.folder, "host.log")
  const child = launch(options, logFile)
  const state = await awaitReady(child, options.folder)
  if (state === undefined) {
    await endHost(child)
    throw new Error(`The test servers did not start:\n${readFileSync(logFile, "utf8").trimEnd()}`)
  }
  return { state, stop: () => endStack(options.folder) }
}

/** Runs the servers until a signal, or for another program until the input from it ends. */
export const serveStack = async (
  options: Pick<HostOptions, "folder" | "only">,
  untilInputEnds: boolean
): Promise<void> => {
  await refuseOrClear(options.folder)
  writeState(options.folder, { host: markOf(process.pid), ready: false, servers: [], environment: {} })
  const told = endRequested(untilInputEnds)
  const report = (line: string) => process.stdout.write(`${line}\n`)
  const starting = startStack({ ...options, wellKnownPorts: !untilInputEnds, report })
  const stack = await Promise.race([starting, told.then(() => undefined)])
  if (stack === undefined) return await (await starting).stop()
  writeState(options.folder, stateOf(stack))
  watch(stack, told)
  await told
  await stack.stop()
}

const launch = (options: HostOptions, logFile: string): ChildProcess => {
  const log = openSync(logFile, "w")
  const args = [program, "up", "--folder", options.folder, "--only", options.only.join(",")]
  if (!options.detached) args.push("--until-input-ends")
  const child = spawn(process.execPath, args, {
    // Of its own session, so that Ctrl-C in a terminal reaches the parent alone and the order of ending is the parent's.
    detached: true,
    stdio: [options.detached ? "ignore" : "pipe", log, log]
  })
  closeSync(log)
  return child
}

const awaitReady = async (child: ChildProcess, folder: string): Promise<StackState | undefined> => {
  const deadline = Date.now() + readyDeadlineMs
  while (child.exitCode === null && child.signalCode === null && Date.now() < deadline) {
    const state = readState(folder)
    if (state?.ready === true && state.host.pid === child.pid) return state
    await pause(readyPauseMs)
  }
  return undefined
}

const endHost = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((settle) => child.once("exit", settle))
  child.kill("SIGTERM")
  await ended
}

/** One stack per folder: refuses beside a living one, clears away a dead one. */
const refuseOrClear = async (folder: string): Promise<void> => {
  const state = readState(folder)
  if (state === undefined) return
  if (isAlive(state.host)) {
    throw new Error(`The test servers in ${folder} are already running (process ${state.host.pid}).`)
  }
  await endStack(folder)
}

const endRequested = (untilInputEnds: boolean): Promise<void> =>
  new Promise((settle) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      let times = 0
      // A second request does not wait for anything orderly; the exit handler of the stack ends the servers.
      process.on(signal, () => (times++ === 0 ? settle() : process.exit(1)))
    }
    if (untilInputEnds)
      process.stdin
        .on("end", settle)
        .on("error", () => settle())
        .resume()
  })

const watch = (stack: Stack, told: Promise<void>): void => {
  let ending = false
  void told.then(() => {
    ending = true
  })
  for (const server of stack.servers.values()) {
    void server.ended().then(() => {
      if (!ending) process.stderr.write(`${server.plan.name} ended by itself; see ${server.logFile}\n`)
    })
  }
}
