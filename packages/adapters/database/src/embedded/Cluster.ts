// One PostgreSQL cluster on disk: made once and whole, guarded by a generated password, and cleared of what a crash left behind.
// The server reaches its data through its working directory, so the folders above may be closed to its account. Nobody gets in without
// the password, not even for the moment in which the cluster is made.
import { execFile } from "node:child_process"
import { randomBytes } from "node:crypto"
import { chmod, chown, lstat, mkdir, readFile, readlink, realpath, rename, rm, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { EmbeddedDatabase } from "@holdfast/resilience/Limits"
import { ByteSize, Duration, Effect, Redacted } from "effect"
import type { Account } from "./Account.ts"
import { attempt } from "./Attempt.ts"
import type { Binaries } from "./Binaries.ts"
import { isRunning, signalOne, signalTree } from "./ProcessTree.ts"
import { ServerEmbeddedError } from "./ServerEmbeddedError.ts"

const run = promisify(execFile)

/** The only account and the database of the desk inside the cluster. */
export const role = "holdfast"
const majorVersion = "18"

export interface ClusterPlan {
  /** Holds `data/`; belongs to the server's account. */
  readonly folder: string
  readonly passwordFile: string
  readonly binaries: Binaries
  readonly account: Account | undefined
}

export const dataFolder = (plan: Pick<ClusterPlan, "folder">): string => join(plan.folder, "data")

/** How the server is told its data folder, with that folder as its working directory. */
export const dataArgument = (data: string): string => (process.platform === "linux" ? "/proc/self/cwd" : data)

/** No variable of the person who starts the desk may steer the server. */
export const environment = { PATH: process.env.PATH, LC_ALL: "C", TZ: "UTC" }

/** The cluster is there, of our version, with a password that only its file knows. */
export const prepareCluster = Effect.fn("ServerEmbedded.prepareCluster")(function* (plan: ClusterPlan) {
  yield* ownFolder(plan.folder, plan.account)
  const known = yield* readPassword(plan.passwordFile)
  const password = known ?? Redacted.make(randomBytes(24).toString("hex"))
  const exists = yield* attempt("Looking for the data of PostgreSQL", () =>
    present(join(dataFolder(plan), "PG_VERSION"))
  )
  if (exists) yield* checkVersion(plan)
  else yield* createCluster(plan, password)
  yield* clearLeftovers(plan)
  if (exists && known === undefined) yield* setPassword(plan, dataFolder(plan), password)
  if (known === undefined) yield* writePassword(plan.passwordFile, password)
  yield* attempt("Writing the access rules of PostgreSQL", () =>
    writeFile(join(dataFolder(plan), "pg_hba.conf"), accessRules)
  )
  return password
})

const accessRules = `# Written at every start: the desk's own account, with its password, from this machine only.
local all ${role} scram-sha-256
host  all ${role} 127.0.0.1/32 scram-sha-256
`

const present = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    (cause) => {
      if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return false
      throw cause
    }
  )

const ownFolder = (folder: string, account: Account | undefined) =>
  attempt(`Preparing ${folder}`, async () => {
    await mkdir(folder, { recursive: true })
    await chmod(folder, 0o700)
    if (account !== undefined) await chown(folder, account.uid, account.gid)
  })

const readPassword = (file: string) =>
  attempt(`Reading ${file}`, async () =>
    (await present(file)) ? Redacted.make((await readFile(file, "utf8")).trim()) : undefined
  )

const writePassword = (file: string, password: Redacted.Redacted<string>) =>
  attempt(`Writing ${file}`, async () => {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    await writeFile(`${file}.new`, `${Redacted.value(password)}\n`, { mode: 0o600 })
    await rename(`${file}.new`, file)
  })

const checkVersion = Effect.fnUntraced(function* (plan: ClusterPlan) {
  const file = join(dataFolder(plan), "PG_VERSION")
  const found = (yield* attempt(`Reading ${file}`, () => readFile(file, "utf8"))).trim()
  if (found === majorVersion) return
  const sentence = `The data in ${plan.folder} is of PostgreSQL ${found}, and this desk brings ${majorVersion}: see docs/operations/upgrade.md.`
  return yield* new ServerEmbeddedError({ sentence })
})

/** Made beside its place and renamed when it is whole, so that a cluster is complete or not there. */
const createCluster = Effect.fnUntraced(function* (plan: ClusterPlan, password: Redacted.Redacted<string>) {
  const unfinished = join(plan.folder, "data.new")
  yield* attempt("Clearing an unfinished database", () => rm(unfinished, { recursive: true, force: true }))
  yield* ownFolder(unfinished, plan.account)
  yield* runIn(plan, unfinished, "Creating the database", plan.binaries.initdb, [
    ...["-D", dataArgument(unfinished), "-U", role, "--auth=reject"],
    ...["-E", "UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
  ])
  yield* setPassword(plan, unfinished, password)
  yield* attempt("Finishing the database", () => rename(unfinished, dataFolder(plan)))
})

/** The single-user server asks nobody, and can only be run by who owns the files. The database may be there already. */
const setPassword = (plan: ClusterPlan, data: string, password: Redacted.Redacted<string>) =>
  runIn(
    plan,
    data,
    "Setting the password of the database",
    plan.binaries.postgres,
    ["--single", "-D", dataArgument(data), "-c", "log_min_messages=fatal", "postgres"],
    `ALTER ROLE ${role} PASSWORD '${Redacted.value(password)}';\nCREATE DATABASE ${role};\n`
  )

const runIn = (plan: ClusterPlan, data: string, what: string, file: string, args: ReadonlyArray<string>, input = "") =>
  attempt(what, async () => {
    const ran = run(file, args, {
      cwd: data,
      env: environment,
      timeout: Duration.toMillis(EmbeddedDatabase.createDeadline),
      killSignal: "SIGKILL",
      maxBuffer: ByteSize.toNumberUnsafe(EmbeddedDatabase.outputBytesMax),
      ...plan.account
    })
    ran.child.stdin?.end(input)
    await ran
  })

/**
 * A supervisor that was killed may leave its server running, and a machine that lost power leaves the file that names one. The
 * first is ended, the second removed; the caller holds the lock of the data folder, so no other supervisor is using either.
 */
export const clearLeftovers = Effect.fn("ServerEmbedded.clearLeftovers")(function* (plan: ClusterPlan) {
  const data = dataFolder(plan)
  const file = join(data, "postmaster.pid")
  yield* attempt("Clearing up after the last run of PostgreSQL", async () => {
    if (!(await present(file))) return
    const pid = Number.parseInt(await readFile(file, "utf8"), 10)
    if (Number.isInteger(pid) && pid > 1 && (await worksIn(pid, data))) await endOrphan(pid)
    await rm(file, { force: true })
  })
})

/** False when it is gone, or somebody else's. */
const worksIn = async (pid: number, data: string): Promise<boolean> => {
  try {
    if (process.platform === "linux") return (await readlink(`/proc/${pid}/cwd`)) === (await realpath(data))
    return (await run("ps", ["-p", String(pid), "-o", "command="])).stdout.includes(data)
  } catch {
    return false
  }
}

const endOrphan = async (pid: number): Promise<void> => {
  signalTree(pid, "SIGCONT")
  const steps = [
    ["SIGINT", EmbeddedDatabase.stopDeadline],
    ["SIGQUIT", EmbeddedDatabase.quitDeadline],
    ["SIGKILL", EmbeddedDatabase.killDeadline]
  ] as const
  for (const [signal, patience] of steps) {
    if (signal === "SIGKILL") signalTree(pid, signal)
    else signalOne(pid, signal)
    if (await gone(pid, Date.now() + Duration.toMillis(patience))) return
  }
  throw new Error(`process ${pid} of the last run does not end`)
}

/** The orphan is nobody's child here, so nothing tells when it ends: look often, until the time is over. */
const gone = async (pid: number, untilMs: number): Promise<boolean> => {
  while (isRunning(pid)) {
    if (Date.now() > untilMs) return false
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return true
}
