// `pnpm bench`: starts private servers and runs the benches in test/bench one after the other, each of which writes its
// own section of BENCHMARKS.md. Arguments choose benches by a part of their file name.
import { readdirSync } from "node:fs"
import { join, resolve } from "node:path"
import { runChild } from "./src/ChildRun.ts"
import { runMarkVariable } from "./src/Leftovers.ts"
import { ensureMachine } from "./src/Machine.ts"
import { clearCrashedRuns, clearRun, newRunFolder } from "./src/RunFolder.ts"
import { serverNames } from "./src/Stack.ts"
import { hostStack } from "./src/StackHost.ts"

const root = resolve(import.meta.dirname, "..")
const benches = join(root, "test", "bench")

const main = async (parts: ReadonlyArray<string>): Promise<number> => {
  const files = readdirSync(benches)
    .filter((name) => name.endsWith(".bench.ts") && (parts.length === 0 || parts.some((part) => name.includes(part))))
    .sort()
  if (files.length === 0) throw new Error("There is no bench of that name in test/bench.")
  ensureMachine(say)
  say("Starting private PostgreSQL, RabbitMQ, Redis and clamd ...")
  await clearCrashedRuns(root)
  const run = newRunFolder(root)
  const stack = await hostStack({ folder: join(run.folder, "servers"), only: serverNames, detached: false })
  try {
    return await runBenches(files, { ...stack.state.environment, [runMarkVariable]: run.mark })
  } finally {
    await stack.stop()
    clearRun(run)
  }
}

const runBenches = async (files: ReadonlyArray<string>, environment: Readonly<Record<string, string>>) => {
  const signal = interruption()
  const failed: Array<string> = []
  for (const [index, file] of files.entries()) {
    say(`\n${file} (${index + 1} of ${files.length})`)
    const command = [process.execPath, join(benches, file)]
    const { exitCode } = await runChild(command, { cwd: root, environment, show: true, signal })
    if (exitCode !== 0) failed.push(file)
  }
  if (failed.length > 0) say(`\nFailed: ${failed.join(", ")}`)
  return failed.length === 0 ? 0 : 1
}

const interruption = (): AbortSignal => {
  const controller = new AbortController()
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => controller.abort(new Error(`Interrupted by ${signal}.`)))
  }
  return controller.signal
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

try {
  process.exit(await main(process.argv.slice(2)))
} catch (cause) {
  process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`)
  process.exit(1)
}
