// What a stack writes down about itself: who hosts it, which processes are its own, how to reach it. With this another
// process can use it, end it, or clear away what a crashed one left.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { isAlive, markOf, type ProcessMark } from "./ProcessMark.ts"
import { signalGroup } from "./ServerProcess.ts"
import { type Stack, stackFolders } from "./Stack.ts"

export interface StackState {
  readonly host: ProcessMark
  readonly ready: boolean
  readonly servers: ReadonlyArray<ProcessMark & { readonly name: string; readonly url: string; readonly log: string }>
  readonly environment: Readonly<Record<string, string>>
}

const stopDeadlineMs = 30_000
const stopPauseMs = 100

export const readState = (folder: string): StackState | undefined =>
  existsSync(stateFile(folder)) ? JSON.parse(readFileSync(stateFile(folder), "utf8")) : undefined

/** Written beside and renamed, so that no reader sees half of it. */
export const writeState = (folder: string, state: StackState): void => {
  mkdirSync(folder, { recursive: true })
  writeFileSync(`${stateFile(folder)}.new`, `${JSON.stringify(state, undefined, 2)}\n`)
  renameSync(`${stateFile(folder)}.new`, stateFile(folder))
}

export const stateOf = (stack: Stack): StackState => ({
  host: markOf(process.pid),
  ready: true,
  environment: stack.environment,
  servers: [...stack.servers.values()].flatMap(({ pid, plan, logFile }) =>
    pid === undefined ? [] : [{ ...markOf(pid), name: plan.name, url: plan.url, log: logFile }]
  )
})

/** Asks the host to end its servers and waits for it; what is then still there is ended by force. */
export const endStack = async (folder: string): Promise<void> => {
  const state = readState(folder)
  if (state !== undefined) {
    if (isAlive(state.host)) process.kill(state.host.pid, "SIGTERM")
    const deadline = Date.now() + stopDeadlineMs
    while (isAlive(state.host) && Date.now() < deadline) await pause(stopPauseMs)
    if (isAlive(state.host)) process.kill(state.host.pid, "SIGKILL")
    for (const server of state.servers) if (isAlive(server)) signalGroup(server.pid, "SIGKILL")
  }
  for (const path of stackFolders(folder)) rmSync(path, { recursive: true, force: true })
}

const stateFile = (folder: string): string => join(folder, "stack.json")
