// What code takes from the platform without asking a service: the time, chance, timers, ids, and the few files of the converter. While worlds
// run these come from the world, so that nothing in it is decided outside of its seed. Put back afterwards.
import crypto from "node:crypto"
import fs from "node:fs/promises"
import { syncBuiltinESMExports } from "node:module"
import type { World } from "./World.ts"

let current: World | null = null

/** Whose chance and time it is from now on. */
export const enterWorld = (world: World): void => {
  current = world
  simulatedFiles.clear()
}

const inWorld = (): World => {
  if (current === null) throw new Error("no world is entered")
  return current
}

/** Private copies for the converter, by path; real folders are left alone. */
export const simulatedFiles = new Map<string, Uint8Array>()
export const simulatedFolder = "/simulated/"

const isSimulated = (path: unknown): path is string => typeof path === "string" && path.startsWith(simulatedFolder)

const openSimulated = (path: string) => ({
  writeFile: (chunk: Uint8Array) => {
    inWorld().expectPromises()
    simulatedFiles.set(path, Buffer.concat([simulatedFiles.get(path) ?? new Uint8Array(), chunk]))
    return Promise.resolve()
  },
  close: () => Promise.resolve()
})

/** Runs `work` with the world's own platform under it. */
export const withSimulatedGlobals = async <A>(work: () => Promise<A>): Promise<A> => {
  const { clearTimeout, setImmediate, setTimeout } = globalThis
  const { now } = Date
  const { random } = Math
  const { stackTraceLimit } = Error
  // Many errors are made and few are looked at; the trace says where they come from.
  Error.stackTraceLimit = 0
  const { randomUUID } = crypto
  const { mkdir, open, rm } = fs
  Object.assign(globalThis, {
    setImmediate: (run: () => void) => void inWorld().turnSoon(run),
    setTimeout: (run: () => void, ms = 0) => inWorld().timers.add(inWorld().nowMs + ms, () => inWorld().outside(run)),
    clearTimeout: (timer: { run: null } | undefined) => {
      if (timer !== undefined) timer.run = null
    }
  })
  Date.now = () => Math.floor(inWorld().currentMs)
  Math.random = () => inWorld().seed.next()
  Object.assign(crypto, { randomUUID: () => inWorld().seed.uuid() })
  Object.assign(fs, {
    mkdir: (path: string, options: object) => (isSimulated(path) ? settled() : mkdir(path, options)),
    open: (path: string, flags: string, mode: number) =>
      isSimulated(path) ? settled(openSimulated(path)) : open(path, flags, mode),
    rm: (path: string, options: object) => {
      if (!isSimulated(path)) return rm(path, options)
      simulatedFiles.delete(path)
      return settled()
    }
  })
  syncBuiltinESMExports()
  try {
    return await work()
  } finally {
    current = null
    Object.assign(globalThis, { clearTimeout, setImmediate, setTimeout })
    Date.now = now
    Math.random = random
    Error.stackTraceLimit = stackTraceLimit
    Object.assign(crypto, { randomUUID })
    Object.assign(fs, { mkdir, open, rm })
    syncBuiltinESMExports()
  }
}

const settled = <A>(value?: A) => {
  inWorld().expectPromises()
  return Promise.resolve(value)
}
