// One of the desk's processes as a child: its output in its own log, its end noticed, its stop bounded. It ends with the supervisor
// however that ends: the kernel sees to it on Linux, and everywhere the child watches a pipe that closes with us.
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { get } from "node:http"
import { endsWithParent } from "@holdfast/database/embedded/EndsWithParent"
import { signalTree } from "@holdfast/database/embedded/ProcessTree"
import { Supervisor } from "@holdfast/resilience/Limits"
import { Duration, Effect } from "effect"
import { refuse } from "../Refusal.ts"
import type { Plan, Running } from "./Keeper.ts"

export interface ChildOptions {
  readonly name: string
  /** The file that Node runs. */
  readonly entry: string
  readonly arguments: ReadonlyArray<string>
  readonly folder: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly logFile: string
  /** Answers while the process is alive, whatever its dependencies do. */
  readonly liveUrl: string
}

export const childPlan = (options: ChildOptions): Plan<Running> => ({
  name: options.name,
  logFile: options.logFile,
  start: Effect.tryPromise({
    try: () => launch(options),
    catch: (cause) => refuse(`${options.name} could not be started: ${cause instanceof Error ? cause.message : cause}`)
  })
})

const watchModule = new URL("./ParentWatch.ts", import.meta.url).href

const launch = async (options: ChildOptions): Promise<Running> => {
  const log = openSync(options.logFile, "a", 0o600)
  const [file, ...args] = endsWithParent("KILL", [
    process.execPath,
    "--import",
    watchModule,
    options.entry,
    ...options.arguments
  ])
  const child = spawn(file, args, {
    cwd: options.folder,
    // Its own group, so that Ctrl-C reaches the supervisor alone, which then stops everything in order.
    detached: true,
    env: options.environment,
    stdio: ["ignore", log, log, "pipe"]
  })
  closeSync(log)
  await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject))
  return runningChild(child, options)
}

const runningChild = (child: ChildProcess, options: ChildOptions): Running => {
  const pid = child.pid ?? 0
  const ended = endOf(child)
  const within = (limit: Duration.Duration) =>
    ended.pipe(Effect.as(true), Effect.timeoutOrElse({ duration: limit, orElse: () => Effect.succeed(false) }))
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null
  const kill = Effect.gen(function* () {
    if (hasEnded()) return
    signalTree(pid, "SIGKILL")
    yield* within(Supervisor.killDeadline)
  })
  const stop = Effect.gen(function* () {
    if (hasEnded()) return
    child.kill("SIGTERM")
    if (!(yield* within(Supervisor.stopDeadline))) yield* kill
  })
  return { pid, ended, answers: Effect.promise(() => isAlive(options.liveUrl)), stop, kill }
}

const endOf = (child: ChildProcess): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const finish = () => resume(Effect.succeed(child.signalCode ?? `exit code ${child.exitCode}`))
    if (child.exitCode !== null || child.signalCode !== null) return finish()
    child.once("exit", finish)
    return Effect.sync(() => child.off("exit", finish))
  })

const isAlive = (url: string): Promise<boolean> =>
  new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: Duration.toMillis(Supervisor.pollDeadline) }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    request.on("timeout", () => request.destroy())
    request.on("error", () => resolve(false))
    request.on("close", () => resolve(false))
  })
