// The event worker: the relay and the consumers of events, all of them or those named by `--only views,automation`.
import { parseArgs } from "node:util"
import { type Part, parseParts, parts } from "@holdfast/events/Registry"
import { runProcess } from "@holdfast/process/Main"
import { eventWorker } from "./layers.ts"

const usage = `Usage: event-worker [--only ${parts.join(",")}]`

const refuse = (why: string): never => {
  console.error(`${why}\n${usage}`)
  process.exit(2)
}

const readOnly = (): ReadonlyArray<Part> => {
  const { values } = parseArgs({ options: { only: { type: "string", default: parts.join(",") } } })
  const parsed = parseParts(values.only)
  return "unknown" in parsed ? refuse(`There is no part "${parsed.unknown}".`) : parsed
}

const only = (() => {
  try {
    return readOnly()
  } catch (cause) {
    return refuse(cause instanceof Error ? cause.message : String(cause))
  }
})()

runProcess({
  name: "event-worker",
  layer: eventWorker(only),
  ready: ({ eventWorkerPort, host }) => `http://${host}:${eventWorkerPort}, running ${only.join(", ")}`
})
