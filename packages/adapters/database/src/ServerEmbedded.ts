// A real PostgreSQL of the desk's own, for the embedded default: started on its own data, on loopback and a socket in its private
// folder, with a generated password and with every write flushed. It promises that acknowledged data survives any end of the
// process, that a start copes with whatever the last run left, and that a stop ends within its deadlines. On Linux the kernel ends the
// server when the supervisor dies; elsewhere the next start does.
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { createConnection } from "node:net"
import { EmbeddedDatabase } from "@holdfast/resilience/Limits"
import { Duration, Effect, Redacted, Schedule } from "effect"
import { accountForServer } from "./embedded/Account.ts"
import { attempt, refusal } from "./embedded/Attempt.ts"
import { findBinaries } from "./embedded/Binaries.ts"
import {
  type ClusterPlan,
  clearLeftovers,
  dataArgument,
  dataFolder,
  environment,
  prepareCluster,
  role
} from "./embedded/Cluster.ts"
import { type CommandLine, endsWithParent } from "./embedded/EndsWithParent.ts"
import { signalOne, signalTree } from "./embedded/ProcessTree.ts"
import { ServerEmbeddedError } from "./embedded/ServerEmbeddedError.ts"

export { ServerEmbeddedError }

export interface ServerEmbeddedOptions {
  /** Holds the data; made private to the server's account. */
  readonly folder: string
  /** The generated password, readable by the desk's account only. */
  readonly passwordFile: string
  readonly logFile: string
  readonly port: number
}

export interface ServerEmbedded {
  readonly url: Redacted.Redacted<string>
  /** Succeeds once the process runs, which is before it answers: see `waitReady`. */
  readonly start: Effect.Effect<RunningServer, ServerEmbeddedError>
}

export interface RunningServer {
  readonly pid: number
  /** Succeeds when the process has ended, with how. */
  readonly ended: Effect.Effect<string>
  /** False while it starts, recovers, hangs or is gone. */
  readonly answers: Effect.Effect<boolean>
  /** Fails when it ends instead, or does not answer in time. */
  readonly waitReady: Effect.Effect<void, ServerEmbeddedError>
  /** In order, then by force: nothing is left afterwards, also when it hangs. */
  readonly stop: Effect.Effect<void>
  /** What a power cut does: nothing is flushed, nobody is told. */
  readonly kill: Effect.Effect<void>
  /** Stops every process of the server with its sockets open, as a dead disk does. */
  readonly hang: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

/** Finds the programs, makes the cluster if there is none and clears what the last run left. */
export const prepare = Effect.fn("ServerEmbedded.prepare")(function* (options: ServerEmbeddedOptions) {
  const account = yield* Effect.fromResult(accountForServer())
  const binaries = yield* findBinaries(account, options.folder)
  const plan: ClusterPlan = { folder: options.folder, passwordFile: options.passwordFile, binaries, account }
  const password = yield* prepareCluster(plan)
  const url = `postgres://${role}:${Redacted.value(password)}@127.0.0.1:${options.port}/${role}`
  const server: ServerEmbedded = {
    url: Redacted.make(url),
    start: Effect.andThen(clearLeftovers(plan), launch(plan, options))
  }
  return server
})

const launch = (plan: ClusterPlan, options: ServerEmbeddedOptions) =>
  attempt("Starting PostgreSQL", async () => {
    const data = dataFolder(plan)
    const command: CommandLine = [plan.binaries.postgres, "-D", dataArgument(data), ...settings(options.port)]
    const [file, ...args] = endsWithParent("INT", command)
    const log = openSync(options.logFile, "a", 0o600)
    const child = spawn(file, args, {
      cwd: data,
      detached: true,
      env: environment,
      stdio: ["ignore", log, log],
      ...plan.account
    })
    closeSync(log)
    await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject))
    return running(child, options)
  })

const settings = (port: number): ReadonlyArray<string> =>
  Object.entries({
    port,
    listen_addresses: "127.0.0.1",
    // Relative to the data folder, which is private; no long path can be too long for a socket then.
    unix_socket_directories: ".",
    unix_socket_permissions: "0700",
    max_connections: EmbeddedDatabase.connectionsMax,
    password_encryption: "scram-sha-256",
    fsync: "on",
    synchronous_commit: "on",
    full_page_writes: "on",
    shared_buffers: "128MB",
    max_wal_size: "512MB",
    timezone: "UTC",
    log_timezone: "UTC",
    log_min_messages: "warning",
    // Statements are written for a desk's small pages; compiling them costs more than it saves.
    jit: "off"
  }).flatMap(([name, value]) => ["-c", `${name}=${value}`])

const running = (child: ChildProcess, options: ServerEmbeddedOptions): RunningServer => {
  const pid = child.pid ?? 0
  const ended = endOf(child)
  const answers = Effect.promise(() => answersOn(options.port))
  const endsWithin = (limit: Duration.Duration) =>
    ended.pipe(Effect.as(true), Effect.timeoutOrElse({ duration: limit, orElse: () => Effect.succeed(false) }))
  const treeSignal = (signal: NodeJS.Signals) => Effect.sync(() => signalTree(pid, signal))
  const kill = treeSignal("SIGKILL").pipe(Effect.andThen(endsWithin(EmbeddedDatabase.killDeadline)), Effect.asVoid)
  const sendAndWait = (signal: NodeJS.Signals, limit: Duration.Duration) =>
    Effect.andThen(
      Effect.sync(() => signalOne(pid, signal)),
      endsWithin(limit)
    )
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null
  const stop = Effect.gen(function* () {
    if (hasEnded()) return
    yield* treeSignal("SIGCONT")
    if (yield* sendAndWait("SIGINT", EmbeddedDatabase.stopDeadline)) return
    if (yield* sendAndWait("SIGQUIT", EmbeddedDatabase.quitDeadline)) return
    yield* kill
  })
  const waitReady = Effect.raceFirst(untilAnswering(answers), failWhenEnded(ended, options.logFile))
  return { pid, ended, answers, waitReady, stop, kill, hang: treeSignal("SIGSTOP"), resume: treeSignal("SIGCONT") }
}

const endOf = (child: ChildProcess): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const finish = () => resume(Effect.succeed(child.signalCode ?? `exit code ${child.exitCode}`))
    if (child.exitCode !== null || child.signalCode !== null) return finish()
    child.once("exit", finish)
    return Effect.sync(() => child.off("exit", finish))
  })

const untilAnswering = (answers: Effect.Effect<boolean>) =>
  answers.pipe(
    Effect.repeat({ until: (ready) => ready, schedule: Schedule.spaced("50 millis") }),
    Effect.asVoid,
    Effect.timeoutOrElse({
      duration: EmbeddedDatabase.readyDeadline,
      orElse: () => Effect.fail(new ServerEmbeddedError({ sentence: "PostgreSQL was started and does not answer." }))
    })
  )

const failWhenEnded = (ended: Effect.Effect<string>, logFile: string) =>
  Effect.flatMap(ended, (how) =>
    Effect.fail(refusal("Starting PostgreSQL", `it ended with ${how}; ${logFile} says why.`))
  )

/** A server that is ready asks for the password (`R`); one that starts up or stops answers with an error (`E`). */
const answersOn = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection({ port, host: "127.0.0.1" }, () => socket.write(startupMessage))
    const settle = (ready: boolean) => {
      socket.destroy()
      resolve(ready)
    }
    socket.setTimeout(Duration.toMillis(EmbeddedDatabase.answerDeadline), () => settle(false))
    socket.on("error", () => settle(false))
    socket.on("close", () => settle(false))
    socket.on("data", (chunk) => settle(chunk.toString("latin1", 0, 1) === "R"))
  })

/** Protocol 3.0: length, version, then `user` and `database`. */
const startupMessage: Buffer = (() => {
  const parameters = Buffer.from(`user\0${role}\0database\0${role}\0\0`)
  const head = Buffer.alloc(8)
  head.writeInt32BE(head.length + parameters.length, 0)
  head.writeInt32BE(196_608, 4)
  return Buffer.concat([head, parameters])
})()
