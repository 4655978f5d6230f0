// One of the desk's processes as a child: its output in its own log, its end noticed, its stop bounded. It listens on sockets that it
// inherits, and on one of its own where it alone is asked how it is. It ends with the supervisor however that ends: the kernel sees to
// it on Linux, and everywhere the child watches a pipe that closes with us.
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { get } from "node:http"
import { endsWithParent } from "@holdfast/database/embedded/EndsWithParent"
import { signalTree } from "@holdfast/database/embedded/ProcessTree"
import { socketsVariable } from "@holdfast/process/Sockets"
import { Http, Supervisor } from "@holdfast/resilience/Limits"
import { Duration, Effect, Option, Schema } from "effect"
import { refuse } from "../Refusal.ts"
import type { Plan, Running } from "./Keeper.ts"
import { inPlace, type Place, placeSession } from "./Priority.ts"
import { type Inherited, openPrivateSocket } from "./Sockets.ts"

export interface ChildOptions {
  readonly name: string
  /** The file that Node runs. */
  readonly entry: string
  readonly nodeFlags: ReadonlyArray<string>
  readonly arguments: ReadonlyArray<string>
  readonly folder: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly logFile: string
  readonly sockets: ReadonlyArray<Inherited>
  readonly place: Place | null
}

export interface RunningChild extends Running {
  /** Of this copy alone; gone with it. */
  readonly address: string
  /** Null when it can serve, else why not. */
  readonly whyNotReady: Effect.Effect<string | null>
  /** Leaves in order while others go on, within its own deadline. */
  readonly leave: Effect.Effect<void>
}

export const childPlan = (options: ChildOptions): Plan<RunningChild> => ({
  name: options.name,
  logFile: options.logFile,
  addressOf: ({ address }) => address,
  start: Effect.tryPromise({
    try: () => launch(options),
    catch: (cause) => refuse(`${options.name} could not be started: ${cause instanceof Error ? cause.message : cause}`)
  })
})

const watchModule = new URL("./ParentWatch.ts", import.meta.url).href

const launch = async (options: ChildOptions): Promise<RunningChild> => {
  const log = openSync(options.logFile, "a", 0o600)
  const own = openPrivateSocket()
  try {
    const sockets = [{ name: "health", fd: own.fd }, ...options.sockets.flatMap(asOftenAsAccepted)]
    const { entry, nodeFlags } = options
    const node = [process.execPath, ...nodeFlags, "--import", watchModule, entry, ...options.arguments] as const
    const [file, ...args] = endsWithParent("KILL", await inPlace(options.place, node))
    const child = spawn(file, args, {
      cwd: options.folder,
      // Its own group, so that Ctrl-C reaches the supervisor alone, which then stops everything in order.
      detached: true,
      env: {
        ...options.environment,
        [socketsVariable]: sockets.map(({ name }, index) => `${name}:${firstSocketFd + index}`).join(",")
      },
      stdio: ["ignore", log, log, "pipe", ...sockets.map(({ fd }) => fd)]
    })
    await new Promise((resolve, reject) => child.once("spawn", resolve).once("error", reject))
    void placeSession(child.pid ?? 0, options.place)
    return runningChild(child, own.url)
  } finally {
    own.close()
    closeSync(log)
  }
}

/** Each descriptor that the copy listens on takes one connection in a turn of its event loop. */
const asOftenAsAccepted = (socket: Inherited): ReadonlyArray<Inherited> =>
  Array.from({ length: socket.name === "http" ? Http.acceptsPerTurn : 1 }, () => socket)

/** After the standard three and the pipe that `ParentWatch.ts` reads. */
const firstSocketFd = 4

const runningChild = (child: ChildProcess, address: string): RunningChild => {
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
  const endBy = (signal: NodeJS.Signals, limit: Duration.Duration) =>
    Effect.gen(function* () {
      if (hasEnded()) return
      child.kill(signal)
      if (!(yield* within(limit))) yield* kill
    })
  return {
    pid,
    address,
    ended,
    answers: Effect.map(ask(`${address}/health/live`), ({ status }) => status === 200),
    whyNotReady: Effect.map(ask(`${address}/health/ready`), whyNotReady),
    stop: endBy("SIGINT", Supervisor.stopDeadline),
    leave: endBy("SIGTERM", Supervisor.leaveDeadline),
    kill
  }
}

const endOf = (child: ChildProcess): Effect.Effect<string> =>
  Effect.callback((resume) => {
    const finish = () => resume(Effect.succeed(child.signalCode ?? `exit code ${child.exitCode}`))
    if (child.exitCode !== null || child.signalCode !== null) return finish()
    child.once("exit", finish)
    return Effect.sync(() => child.off("exit", finish))
  })

interface Answered {
  /** 0: no answer. */
  readonly status: number
  readonly text: string
}

const ask = (url: string) =>
  Effect.callback<Answered>((resume) => {
    const silence = () => resume(Effect.succeed({ status: 0, text: "" }))
    const timeout = Duration.toMillis(Supervisor.pollDeadline)
    const request = get(url, { agent: false, timeout }, (response) => {
      let text = ""
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk
      })
      response.on("end", () => resume(Effect.succeed({ status: response.statusCode ?? 0, text })))
    })
    request.on("timeout", () => request.destroy())
    request.on("error", silence)
    request.on("close", silence)
    return Effect.sync(() => request.destroy())
  })

const Ready = Schema.fromJsonString(
  Schema.Struct({
    status: Schema.String,
    dependencies: Schema.Array(
      Schema.Struct({
        ...{ dependency: Schema.String, state: Schema.String, needed: Schema.Boolean },
        detail: Schema.NullOr(Schema.String)
      })
    )
  })
)
const decodeReady = Schema.decodeUnknownOption(Ready)

const whyNotReady = ({ status, text }: Answered): string | null => {
  if (status === 200) return null
  const told = Option.getOrUndefined(decodeReady(text))
  const missing = told?.dependencies.find(({ needed, state }) => needed && state === "down")
  if (missing !== undefined)
    return `it needs ${missing.dependency}, which is down: ${missing.detail ?? "no reason given"}`
  return told === undefined ? "it does not answer" : `it is ${told.status}`
}
