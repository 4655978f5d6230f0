// `npm test`: every check and every test, on servers of its own, ending with the line `N passed, N failed`. It exits
// with 0 only if something passed and nothing failed, and whatever it started has ended when it has.
import { resolve } from "node:path"
import { ensureMachine } from "./src/Machine.ts"
import { clearCrashedRuns, clearRun, newRunFolder } from "./src/RunFolder.ts"
import { formatFailures } from "./src/Summary.ts"
import { checkLeftovers, runCheck, runServerTests, runUnitTests, staticChecks, type TestRun } from "./src/TestSteps.ts"
import type { Outcome } from "./src/VitestReport.ts"

// Four times what it takes on two cores: for slower machines, and yet an end to what hangs.
const runDeadlineMs = 70 * 60_000
const impatientAfterMs = 1_000
const root = resolve(import.meta.dirname, "..")

const main = async (): Promise<number> => {
  const interrupted = interruption()
  const run: TestRun = {
    root,
    ...newRunFolder(root),
    signal: AbortSignal.any([interrupted, AbortSignal.timeout(runDeadlineMs)]),
    report: (line) => process.stdout.write(`${line}\n`)
  }
  try {
    await clearCrashedRuns(root)
    return summarize(await runSteps(run, interrupted))
  } finally {
    clearRun(run)
  }
}

const runSteps = async (run: TestRun, interrupted: AbortSignal): Promise<ReadonlyArray<Outcome>> => {
  const outcomes: Array<Outcome> = []
  const add = async (name: string, step: () => Promise<Outcome>) =>
    outcomes.push(await orFailed({ run, interrupted, name, step }))
  await add("the machine has what the tests need", async () => {
    ensureMachine(run.report)
    return { passed: 1, failures: [] }
  })
  for (const check of staticChecks(root)) await add(check.name, () => runCheck(run, check))
  await add("unit tests", () => runUnitTests(run))
  await add("tests on servers", () => runServerTests(run))
  outcomes.push(checkLeftovers(run))
  return outcomes
}

interface Step {
  readonly run: TestRun
  readonly interrupted: AbortSignal
  readonly name: string
  readonly step: () => Promise<Outcome>
}

/** A run that takes too long fails, and still says what it found. */
const orFailed = async ({ interrupted, name, run, step }: Step): Promise<Outcome> => {
  try {
    return await step()
  } catch (cause) {
    interrupted.throwIfAborted()
    const message = cause instanceof Error ? cause.message : String(cause)
    run.report(`FAILED  ${name}: ${message}`)
    return { passed: 0, failures: [{ name, message }] }
  }
}

const summarize = (outcomes: ReadonlyArray<Outcome>): number => {
  const passed = outcomes.reduce((sum, outcome) => sum + outcome.passed, 0)
  const failures = outcomes.flatMap((outcome) => outcome.failures)
  process.stdout.write(`${formatFailures(failures, root)}${passed} passed, ${failures.length} failed\n`)
  return failures.length === 0 && passed > 0 ? 0 : 1
}

/** Aborts on the first signal; a second one, unless it is the echo of the first, ends everything at once. */
const interruption = (): AbortSignal => {
  const controller = new AbortController()
  let first = 0
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (first > 0 && Date.now() - first > impatientAfterMs) process.exit(1)
      first ||= Date.now()
      controller.abort(new Error(`Interrupted by ${signal}; everything started has been ended.`))
    })
  }
  return controller.signal
}

try {
  process.exit(await main())
} catch (cause) {
  process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`)
  process.exit(130)
}
