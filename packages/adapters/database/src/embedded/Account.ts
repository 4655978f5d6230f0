// Which account the embedded PostgreSQL runs under. PostgreSQL refuses to run as root, so root hands it to another account: one
// named `holdfast` where somebody made it, else `postgres`, else `nobody`. Everybody else runs it as themselves.
import { readFileSync } from "node:fs"
import { Result } from "effect"
import { ServerEmbeddedError } from "./ServerEmbeddedError.ts"

export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/** `undefined`: the account of this process. */
export const accountForServer = (
  ownUid = process.getuid?.(),
  passwd = () => readFileSync("/etc/passwd", "utf8")
): Result.Result<Account | undefined, ServerEmbeddedError> => {
  if (ownUid !== 0) return Result.succeed(undefined)
  const accounts = passwd().split("\n").flatMap(parseAccount)
  for (const name of ["holdfast", "postgres", "nobody"]) {
    const found = accounts.find((account) => account.name === name)
    if (found !== undefined) return Result.succeed(found)
  }
  const sentence =
    "PostgreSQL refuses to run as root: make a system user named holdfast, or start the desk as another user."
  return Result.fail(new ServerEmbeddedError({ sentence }))
}

const parseAccount = (line: string): ReadonlyArray<Account> => {
  const [name, , uid, gid] = line.split(":")
  if (name === undefined || uid === undefined || gid === undefined || uid === "0") return []
  return [{ name, uid: Number(uid), gid: Number(gid) }]
}
