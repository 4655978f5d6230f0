// One of the desk's processes by itself, as a test starts, kills and starts it again: with nothing of the test's own environment, and
// ready when it says so.
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"

/** Characters of what it said, for the error when it ends before it is ready. */
const tailLength = 20_000

export class ProcessUnderTest {
  readonly #main: string
  #child: ChildProcess | undefined

  /** The file that Node runs. */
  constructor(main: string) {
    this.#main = main
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  async start(environment: Readonly<Record<string, string>>): Promise<void> {
    const { NODE_COMPILE_CACHE, PATH } = process.env
    const child = spawn(process.execPath, [this.#main], {
      env: { PATH, NODE_COMPILE_CACHE, ...environment },
      stdio: ["ignore", "pipe", "pipe"]
    })
    this.#child = child
    let said = ""
    const ready = Promise.withResolvers<void>()
    const listen = (chunk: Buffer) => {
      said = `${said}${chunk}`.slice(-tailLength)
      if (said.includes("is ready")) ready.resolve()
    }
    child.stdout.on("data", listen)
    child.stderr.on("data", listen)
    child.once("exit", () => ready.reject(new Error(`it ended before it was ready: ${said}`)))
    await ready.promise
  }

  /** Its exit code; null when the signal ended it. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<number | null> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null
    const exited = once(child, "exit")
    child.kill(signal)
    await exited
    return child.exitCode
  }
}
