// The real file worker as a process of its own, beside a gateway that shares its data folder.
import { fileURLToPath } from "node:url"
import { ProcessUnderTest } from "@holdfast/testkit/ProcessUnderTest"
import { Effect, Redacted } from "effect"

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))

export interface WorkerOptions {
  readonly dataDir: string
  readonly databaseUrl: Redacted.Redacted<string>
  /** Without it the content policy scanner stands in. */
  readonly clamdUrl?: string
  readonly port: number
  /** What else its environment says. */
  readonly settings?: Readonly<Record<string, string>>
}

export class RunningWorker {
  readonly #options: WorkerOptions
  readonly #process = new ProcessUnderTest(main)
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
    const { clamdUrl, databaseUrl, dataDir, port, settings } = this.#options
    await this.#process.start({
      HOLDFAST_DATA_DIR: dataDir,
      HOLDFAST_DATABASE_URL: Redacted.value(databaseUrl),
      ...(clamdUrl === undefined ? {} : { HOLDFAST_CLAMD_URL: clamdUrl }),
      HOLDFAST_FILE_WORKER_PORT: String(port),
      ...settings
    })
  }

  end(signal: "SIGKILL" | "SIGTERM"): Promise<number | null> {
    return this.#process.end(signal)
  }
}
