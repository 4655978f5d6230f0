// What Node made of the source of a child of ours, kept, so that each child reads it instead of making it anew: most of a child's processor
// time went into that. It is filled outside of the sandbox, by a run of the same program on nothing, while the first children go without. A child
// gets it only under bubblewrap, which binds it read-only: a child that a hostile file has taken over cannot leave anything there that another
// one, or a process of the desk, would run. Where the machine confines less than that, children go without.
import { spawn } from "node:child_process"
import { getCompileCacheDir } from "node:module"
import { dirname } from "node:path"
import { Effect } from "effect"
import { confinement, type SandboxJob } from "./Sandbox.ts"

export type CompiledCode = Required<Pick<SandboxJob, "environment" | "readable">>

export const none: CompiledCode = { environment: {}, readable: [] }
const known = new Map<string, CompiledCode>()

/** For children that Node runs from this file, as soon as there is something: nobody waits for it, and failing to make it is no failure. */
export const compiledCode = (entry: string): Effect.Effect<CompiledCode> =>
  Effect.map(confinement, (how) => {
    // Of this process, in a folder for the version of Node; unset where nobody asked for one.
    const own = getCompileCacheDir()
    if (how !== "bubblewrap" || own === undefined) return none
    if (!known.has(entry)) fill(entry, dirname(own))
    return known.get(entry) ?? none
  })

const fillDeadlineMs = 20_000

/** Its job is `null`, so it ends with an error once all of it is loaded, and Node writes what it made of it. */
const fill = (entry: string, folder: string): void => {
  known.set(entry, none)
  const child = spawn(process.execPath, [entry, "null"], {
    env: { NODE_COMPILE_CACHE: folder },
    stdio: "ignore",
    timeout: fillDeadlineMs,
    killSignal: "SIGKILL"
  })
  child.once("error", () => {})
  child.once("close", () => known.set(entry, { environment: { NODE_COMPILE_CACHE: folder }, readable: [folder] }))
}
