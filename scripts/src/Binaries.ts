// Where the machine keeps the programs that the tests need, and which Debian package brings each. Debian puts some
// outside PATH; other systems (the flake) have them on PATH.
import { accessSync, constants, existsSync, readdirSync } from "node:fs"
import { delimiter, join } from "node:path"

const debianFolders = ["/usr/sbin", "/sbin", "/usr/lib/rabbitmq/bin"]

/** The full path of a program, or undefined where the machine has none. Folders named by Debian win over PATH. */
export const findExecutable = (name: string): string | undefined => {
  const onPath = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "")
  const folders = [...postgresFolders(), "/usr/lib/rabbitmq/bin", ...onPath, ...debianFolders]
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

/** Like `findExecutable`, for a program without which nothing goes on. */
export const requireExecutable = (name: string): string => {
  const found = findExecutable(name)
  if (found === undefined) throw new Error(`The program "${name}" is not installed on this machine.`)
  return found
}

const postgresFolders = (): ReadonlyArray<string> => {
  const root = "/usr/lib/postgresql"
  if (!existsSync(root)) return []
  const versions = readdirSync(root).filter((name) => existsSync(join(root, name, "bin", "postgres")))
  return versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(root, version, "bin"))
}

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
