// The programs that draw documents, where the machine has them: found and asked for their versions once.
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { Converter as Limits } from "@holdfast/resilience/Limits"
import { Duration } from "effect"

export interface Program {
  readonly path: string
  readonly version: string
}

/** Null for a program that is not to be used; absent to look for it. */
export interface ProgramOptions {
  readonly pdftoppm?: string | null
  readonly soffice?: string | null
}

export interface Programs {
  readonly pdftoppm: () => Promise<Program | null>
  readonly soffice: () => Promise<Program | null>
}

export const makePrograms = (options: ProgramOptions): Programs => ({
  pdftoppm: once(() => find("pdftoppm", options.pdftoppm, ["-v"])),
  soffice: once(() => find("soffice", options.soffice, ["--version"]))
})

const once = <A>(make: () => Promise<A>): (() => Promise<A>) => {
  let made: Promise<A> | undefined
  return () => {
    made ??= make()
    return made
  }
}

const folders = ["/usr/bin", "/usr/local/bin"]

const find = async (name: string, told: string | null | undefined, args: ReadonlyArray<string>) => {
  if (told === null) return null
  const path = told ?? folders.map((folder) => join(folder, name)).find((candidate) => existsSync(candidate))
  return path === undefined ? null : { path, version: await versionOf(path, args) }
}

/** Some say it on one output, some on the other. */
const versionOf = (path: string, args: ReadonlyArray<string>): Promise<string> =>
  new Promise((resolve) => {
    const options = { env: { HOME: "/nonexistent" }, timeout: Duration.toMillis(Limits.versionDeadline) }
    const child = spawn(path, args, { ...options, killSignal: "SIGKILL", stdio: ["ignore", "pipe", "pipe"] })
    let said = ""
    const hear = (chunk: Buffer) => {
      said = `${said}${chunk.toString("latin1")}`.slice(0, 1000)
    }
    child.stdout.on("data", hear)
    child.stderr.on("data", hear)
    child.once("error", () => resolve("unknown"))
    child.once("close", () => resolve(/\d+(\.\d+)+/.exec(said)?.[0] ?? "unknown"))
  })
