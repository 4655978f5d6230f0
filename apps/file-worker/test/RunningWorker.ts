// The real file worker as a process of its own, beside a gateway that shares its data folder.
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { Effect, Redacted } from "effect"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

export interface WorkerOptions {
  readonly dataDir: string
  readonly databaseUrl: Redacted.Redacted<string>
  readonly clamdUrl: string
  readonly port: number
}

export class RunningWorker {
  readonly #options: WorkerOptions
  #child: ChildProcess | undefined
  private constructor(options: WorkerOptions) {
    this.#options = options
  }

  static readonly make = (options: WorkerOptions) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        const worker = new RunningWorker(options)
        await worker.start()
        return worker
      }),
      (worker) => Effect.promise(() => worker.end("SIGKILL"))
    )

  async start(): Promise<void> {
    const { clamdUrl, databaseUrl, dataDir, port } = this.#options
    const environment = {
      PATH: process.env.PATH ?? "",
      HOLDFAST_DATA_DIR: dataDir,
      HOLDFAST_DATABASE_URL: Redacted.value(databaseUrl),
      HOLDFAST_CLAMD_URL: clamdUrl,
      HOLDFAST_FILE_WORKER_PORT: String(port)
    }
    const child = spawn(process.execPath, [main], { env: environment, stdio: ["ignore", "pipe", "pipe"] })
    this.#child = child
    let said = ""
    const ready = Promise.withResolvers<void>()
    const listen = (chunk: Buffer) => {
      said = `${said}${chunk}`.slice(-20_000)
      if (said.includes("is ready")) ready.resolve()
    }
    child.stdout.on("data", listen)
    child.stderr.on("data", listen)
    child.once("exit", () => ready.reject(new Error(`the worker ended: ${said}`)))
    await ready.promise
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<number | null> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const exited = once(child, "exit")
    child.kill(signal)
    await exited
    return child.exitCode
  }
}
