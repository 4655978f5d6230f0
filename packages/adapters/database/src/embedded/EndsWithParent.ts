// A command line whose process ends when this process does, however this one ends: on Linux `setpriv` asks the kernel for that signal
// and then becomes the command. Elsewhere the command line is as it was, and the next start has to cope.
import { accessSync, constants } from "node:fs"

export type CommandLine = readonly [file: string, ...args: ReadonlyArray<string>]

const setpriv = "/usr/bin/setpriv"

export const endsWithParent = (signal: "INT" | "KILL", command: CommandLine): CommandLine =>
  isExecutable(setpriv) ? [setpriv, "--pdeathsig", signal, "--", ...command] : command

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
