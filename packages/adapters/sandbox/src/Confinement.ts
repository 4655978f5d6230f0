// How far this machine can shut a program in, found out once by trying: bubblewrap, else a network namespace, else the limits alone.
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

export type Confinement = "bubblewrap" | "namespace" | "rlimits"

/** What goes in front of a command line so that it runs confined. */
export interface Shell {
  readonly confinement: Confinement
  prefix(writable: string, readable: ReadonlyArray<string>): ReadonlyArray<string>
}

/** Tried once per process: what a machine can do does not change while it runs. */
export const findShell = (): Promise<Shell> => {
  found ??= firstThatWorks(candidates)
  return found
}
let found: Promise<Shell> | undefined

const rlimits: Shell = { confinement: "rlimits", prefix: () => [] }

const firstThatWorks = async (shells: ReadonlyArray<Shell>): Promise<Shell> => {
  for (const shell of shells) if (await works(shell)) return shell
  return rlimits
}

export const works = (shell: Shell): Promise<boolean> =>
  new Promise((resolve) => {
    const [program = "", ...args] = [...shell.prefix("/var/tmp", []), "/bin/true"]
    const child = spawn(program, args, { env: {}, stdio: "ignore", timeout: 20_000, killSignal: "SIGKILL" })
    child.once("error", () => resolve(false))
    child.once("close", (code) => resolve(code === 0))
  })

const workspace = fileURLToPath(new URL("../../../../", import.meta.url))

/** Programs, libraries and fonts of the system; Node; our code. No configuration, no data, no home. */
const system = [
  ...["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"],
  ...["/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/libreoffice", "/nix/store"],
  dirname(dirname(process.execPath)),
  join(workspace, "packages"),
  join(workspace, "node_modules")
]

const bubblewrap: Shell = {
  confinement: "bubblewrap",
  prefix: (writable, files) => [
    ...["/usr/bin/bwrap", "--unshare-all", "--die-with-parent", "--clearenv", "--cap-drop", "ALL"],
    ...["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp"],
    ...[...system.filter((path) => existsSync(path)), ...files].flatMap((path) => ["--ro-bind", path, path]),
    ...["--bind", writable, writable, "--chdir", writable, "--"]
  ]
}

/** The first needs root, the second that anybody may make a user namespace. */
const namespaces: ReadonlyArray<Shell> = [["--net"], ["--map-root-user", "--net"]].map((flags) => ({
  confinement: "namespace",
  prefix: () => ["/usr/bin/unshare", ...flags, "--"]
}))

/** The tightest first. */
export const candidates: ReadonlyArray<Shell> = [bubblewrap, ...namespaces]
