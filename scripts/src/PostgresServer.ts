// A private PostgreSQL for tests. Its data may be thrown away, but within a run it keeps what it acknowledged (fsync
// stays on), because fault tests kill it and count. It trusts every connection and therefore listens on loopback only.
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { requireExecutable } from "./Binaries.ts"
import { isAlive, markOf } from "./ProcessMark.ts"
import type { ServerPlan } from "./ServerProcess.ts"

const run = promisify(execFile)
const initDeadlineMs = 60_000
const rootsFolders = "/var/tmp"
const folderPrefix = "holdfast-postgres-"
const ownerFile = "owner.json"

export const postgresPlan = (root: string, port: number): ServerPlan => {
  const user = process.getuid?.() === 0 ? unprivilegedUser() : undefined
  const folder = postgresFolder(root)
  const data = join(folder, "data")
  return {
    name: "postgres",
    port,
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    folder,
    prepare: () => createCluster(folder, data, port, user),
    command: [requireExecutable("postgres"), "-D", data],
    environment: {},
    user,
    greeting: { send: startupMessage(), expect: Buffer.from("R") },
    stopSignal: "SIGINT"
  }
}

/** The server's folder: root's projects may lie where the server's user cannot go, so root's servers live elsewhere. */
export const postgresFolder = (root: string): string => {
  if (process.getuid?.() !== 0) return join(root, "postgres")
  return join(rootsFolders, `${folderPrefix}${createHash("sha256").update(root).digest("hex").slice(0, 12)}`)
}

/** Removes what servers left outside their stack's folder when whoever started them could not. */
export const clearAbandonedPostgres = (): void => {
  if (process.getuid?.() !== 0) return
  for (const name of readdirSync(rootsFolders)) {
    const folder = join(rootsFolders, name)
    const owner = join(folder, ownerFile)
    if (!name.startsWith(folderPrefix) || !existsSync(owner)) continue
    if (!isAlive(JSON.parse(readFileSync(owner, "utf8")))) rmSync(folder, { recursive: true, force: true })
  }
}

const unprivilegedUser = () => {
  const accounts = readFileSync("/etc/passwd", "utf8").split("\n")
  const account = ["postgres", "nobody"].flatMap((name) => accounts.filter((line) => line.startsWith(`${name}:`)))[0]
  const [uid, gid] = (account?.split(":") ?? []).slice(2, 4).map(Number)
  if (uid === undefined || gid === undefined) {
    throw new Error("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody.")
  }
  return { uid, gid }
}

const createCluster = async (folder: string, data: string, port: number, user: ServerPlan["user"]) => {
  rmSync(data, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  chmodSync(folder, 0o700)
  writeFileSync(join(folder, ownerFile), JSON.stringify(markOf(process.pid)))
  if (user !== undefined) chownSync(folder, user.uid, user.gid)
  const options = ["-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
  await run(requireExecutable("initdb"), options, { cwd: folder, timeout: initDeadlineMs, ...user })
  appendFileSync(join(data, "postgresql.conf"), configuration(port))
}

const configuration = (port: number): string => `
port = ${port}
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
fsync = on
synchronous_commit = on
shared_buffers = 128MB
max_wal_size = 512MB
timezone = 'UTC'
log_min_messages = warning
`

// Protocol 3.0, user and database postgres. A server that still recovers answers "E", a ready one "R".
const startupMessage = (): Buffer => {
  const parameters = Buffer.from("user\0postgres\0database\0postgres\0\0")
  const head = Buffer.alloc(8)
  head.writeInt32BE(head.length + parameters.length, 0)
  head.writeInt32BE(196_608, 4)
  return Buffer.concat([head, parameters])
}
