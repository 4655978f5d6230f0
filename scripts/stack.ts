// The private test servers from the command line: started for a shell, a test run or a bench, and ended again.
import { resolve } from "node:path"
import { isAlive } from "./src/ProcessMark.ts"
import { parseStackArguments, type StackArguments, stackUsage } from "./src/StackArguments.ts"
import { hostStack, serveStack } from "./src/StackHost.ts"
import { endStack, readState, type StackState } from "./src/StackState.ts"

const main = async (): Promise<void> => {
  const options = parseStackArguments(process.argv.slice(2), resolve(import.meta.dirname, ".."))
  switch (options.action) {
    case "up":
      if (!options.detach) return await serveStack(options, options.untilInputEnds)
      return print(options, (await hostStack({ ...options, detached: true })).state, environmentLines)
    case "down":
      return await endStack(options.folder)
    case "status":
      return print(options, running(options), statusLines)
    case "env":
      return print(options, running(options), environmentLines)
  }
}

const running = ({ folder }: StackArguments): StackState => {
  const state = readState(folder)
  if (state === undefined || !isAlive(state.host)) throw new Error(`No test servers run in ${folder}.`)
  return state
}

const print = (options: StackArguments, state: StackState, lines: (state: StackState) => ReadonlyArray<string>) => {
  const text = options.json ? JSON.stringify(state, undefined, 2) : lines(state).join("\n")
  process.stdout.write(`${text}\n`)
}

const statusLines = ({ servers }: StackState): ReadonlyArray<string> =>
  servers.map(
    (server) => `${server.name.padEnd(10)}${isAlive(server) ? "runs " : "ended"} ${server.url} (${server.pid})`
  )

const environmentLines = ({ environment }: StackState): ReadonlyArray<string> =>
  Object.entries(environment).map(([name, url]) => `export ${name}=${url}`)

try {
  await main()
  process.exit(0)
} catch (cause) {
  process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`)
  if (cause instanceof Error && cause.message.startsWith("Say one of")) process.stderr.write(`${stackUsage}\n`)
  process.exit(1)
}
