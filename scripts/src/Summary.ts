// How the end of a test run names what failed: each failure once, with as much of its error as a person reads.
import { sep } from "node:path"
import type { Failure } from "./VitestReport.ts"

const messageLinesMax = 12
// Where an error passed through other people's code; the full trace is in the output above the summary.
const foreignFrame = /^\s*at .*(node_modules|<anonymous>|node:)/

/** Nothing for no failures, else a section that ends with an empty line. */
export const formatFailures = (failures: ReadonlyArray<Failure>, root: string): string => {
  if (failures.length === 0) return ""
  const sections = failures.map(({ name, message }) => `  ${name.replace(root + sep, "")}\n${indent(message)}`)
  return `\nFailed:\n${sections.join("\n")}\n\n`
}

const indent = (message: string): string => {
  const lines = message
    .trim()
    .split("\n")
    .filter((line) => !foreignFrame.test(line))
  const shown = lines.slice(0, messageLinesMax)
  if (lines.length > shown.length) shown.push(`... ${lines.length - shown.length} more lines above`)
  return shown.map((line) => `      ${line}`).join("\n")
}
