// The steps of `npm test`, each giving one outcome: static checks count as one test each, the vitest projects as many as
// they hold. A step that cannot run at all is a failure, never a pass.
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { runChild } from "./ChildRun.ts"
import { endLeftovers, findLeftovers, runMarkVariable } from "./Leftovers.ts"
import type { RunFolder } from "./RunFolder.ts"
import { serverNames, serverVariables } from "./Stack.ts"
import { hostStack } from "./StackHost.ts"
import { type Outcome, readVitestReport } from "./VitestReport.ts"

export interface TestRun extends RunFolder {
  readonly root: string
  readonly signal: AbortSignal
  readonly report: (line: string) => void
}

interface Check {
  readonly name: string
  readonly command: ReadonlyArray<string>
}

const outputLinesMax = 200
const withoutServers = Object.fromEntries(Object.values(serverVariables).map((name) => [name, undefined]))
const withoutColours = process.stdout.isTTY ? {} : { NO_COLOR: "1" }
const passedOne: Outcome = { passed: 1, failures: [] }

export const staticChecks = (root: string): ReadonlyArray<Check> => {
  const tool = (name: string) => join(root, "node_modules", ".bin", name)
  return [
    { name: "generated files are current", command: [process.execPath, "scripts/codegen.ts", "--check"] },
    { name: "types", command: [tool("tsc"), "--noEmit", "-p", "tsconfig.json"] },
    { name: "format and lint", command: [tool("biome"), "ci", "--colors=off", "."] },
    {
      name: "Effect diagnostics",
      command: [tool("effect-tsgo"), "diagnostics", "--project", "tsconfig.json", "--format", "text"]
    },
    { name: "unused code", command: [tool("knip"), "--no-config-hints"] }
  ]
}

export const runCheck = async (run: TestRun, { name, command }: Check): Promise<Outcome> => {
  const began = Date.now()
  const { exitCode, output } = await runChild(command, { cwd: run.root, signal: run.signal })
  run.report(`${exitCode === 0 ? "passed" : "FAILED"}  ${name} (${secondsSince(began)})`)
  if (exitCode === 0) return passedOne
  run.report(output.trimEnd().split("\n").slice(-outputLinesMax).join("\n"))
  return { passed: 0, failures: [{ name, message: `exit code ${exitCode}; its output is above` }] }
}

/** The tests that need nothing but Node; they are not even told where servers are. */
export const runUnitTests = (run: TestRun): Promise<Outcome> => runProjects(run, ["unit", "simulation"], withoutServers)

/** The tests on real servers, which are started for them and ended after them. */
export const runServerTests = async (run: TestRun): Promise<Outcome> => {
  run.report("Starting private PostgreSQL, RabbitMQ, Redis and clamd ...")
  const began = Date.now()
  const stack = await hostStack({ folder: join(run.folder, "servers"), only: serverNames, detached: false })
  try {
    run.report(`The servers answer (${secondsSince(began)})`)
    return await runProjects(run, ["servers"], stack.state.environment)
  } finally {
    await stack.stop()
  }
}

/** Every process that a test started has ended with it; those that have not are ended here. */
export const checkLeftovers = (run: TestRun): Outcome => {
  const leftovers = findLeftovers(run.mark)
  endLeftovers(leftovers)
  const name = "no process is left behind"
  run.report(`${leftovers.length === 0 ? "passed" : "FAILED"}  ${name}`)
  if (leftovers.length === 0) return passedOne
  return { passed: 0, failures: [{ name, message: leftovers.map((l) => `${l.pid} ${l.command}`).join("\n") }] }
}

const runProjects = async (
  run: TestRun,
  projects: ReadonlyArray<string>,
  servers: Readonly<Record<string, string | undefined>>
): Promise<Outcome> => {
  const name = projects.join("-")
  const file = join(run.folder, `${name}.json`)
  const vitest = join(run.root, "node_modules", ".bin", "vitest")
  const options = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`]
  const { exitCode } = await runChild(
    [vitest, "run", ...projects.flatMap((project) => ["--project", project]), ...options],
    {
      cwd: run.root,
      environment: { [runMarkVariable]: run.mark, ...withoutColours, ...servers },
      show: true,
      signal: run.signal
    }
  )
  return readVitestReport(name, existsSync(file) ? readFileSync(file, "utf8") : "", exitCode)
}

const secondsSince = (began: number): string => `${((Date.now() - began) / 1000).toFixed(1)} s`
