// A disk that fails or dawdles under a running process: its system calls are answered with an error, or late, by strace. By default those
// that promise that bytes are on the disk (fsync, fdatasync), which is how a dying disk first tells. Needs Linux and root; the process goes
// on unharmed when the scope ends.
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Duration, Effect, type Scope } from "effect"
import { administratorsPath, MeansMissing, requireRoot } from "./Means.ts"

export type CallFault =
  | { readonly _tag: "Fails"; readonly errno: "EIO" | "ENOSPC" }
  /** Does what was asked, but only after this long. */
  | { readonly _tag: "Late"; readonly by: Duration.Duration }

export interface FailingCallsOptions {
  /** All of their threads, and whatever they start. */
  readonly pids: ReadonlyArray<number>
  readonly fault: CallFault
  readonly calls?: ReadonlyArray<string>
}

export interface FailingCalls {
  /** How many calls were hit so far. */
  readonly hits: Effect.Effect<number>
}

const means = "A failing disk"

export const failCalls = (options: FailingCallsOptions): Effect.Effect<FailingCalls, MeansMissing, Scope.Scope> =>
  Effect.gen(function* () {
    yield* requireRoot(means)
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-strace-"))),
      (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
    )
    const log = join(folder, "log")
    const tracer = yield* Effect.acquireRelease(
      Effect.sync(() => spawn("strace", argumentsOf(options, log), { env, stdio: ["ignore", "ignore", "pipe"] })),
      (child) => Effect.promise(() => detach(child))
    )
    yield* attached(tracer, options.pids)
    const calls: FailingCalls = { hits: Effect.promise(() => countHits(log)) }
    return calls
  })

const env = { ...process.env, PATH: administratorsPath }

const argumentsOf = ({ calls = ["fsync", "fdatasync"], fault, pids }: FailingCallsOptions, log: string) => {
  const set = calls.join(",")
  const effect = fault._tag === "Fails" ? `error=${fault.errno}` : `delay_enter=${Duration.toMillis(fault.by)}ms`
  const whom = pids.flatMap((pid) => ["-p", String(pid)])
  return ["-f", "-e", `trace=${set}`, "-e", `inject=${set}:${effect}`, "-o", log, ...whom]
}

/** strace says of each process when it has it. One that ended meanwhile needs no fault; that none is left ends strace. */
const attached = (tracer: ChildProcess, pids: ReadonlyArray<number>): Effect.Effect<void, MeansMissing> =>
  Effect.callback((resume) => {
    let said = ""
    const fail = (why: string) => resume(Effect.fail(new MeansMissing({ message: `${means} needs strace: ${why}.` })))
    tracer.once("error", (error) => fail(error.message))
    tracer.once("exit", () => fail(said.trim()))
    tracer.stderr?.on("data", (chunk) => {
      said += String(chunk)
      const has = (pid: number) => said.includes(`Process ${pid} attached`)
      const isGone = (pid: number) => said.includes(`(PTRACE_SEIZE, ${pid}): No such process`)
      if (pids.some(has) && pids.every((pid) => has(pid) || isGone(pid))) resume(Effect.void)
    })
  })

/** The process is let go of first, so that it goes on. */
const detach = async (tracer: ChildProcess): Promise<void> => {
  if (tracer.pid === undefined || tracer.exitCode !== null || tracer.signalCode !== null) return
  tracer.kill("SIGTERM")
  await once(tracer, "exit")
}

const countHits = async (log: string): Promise<number> =>
  (await readFile(log, "utf8").catch(() => "")).match(/\((INJECTED|DELAYED)\)/g)?.length ?? 0
