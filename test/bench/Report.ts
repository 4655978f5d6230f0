// Writes what a bench measured into its own section of BENCHMARKS.md, between `<!-- bench:name -->` and `<!-- /bench:name -->`, with the
// command that made it, the machine and the day. Running a bench again replaces its section and nothing else. With HOLDFAST_BENCH_TINY=1 a bench
// that knows it does as little as shows that it works, and what it measured is shown and not kept.
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { availableParallelism, cpus, totalmem } from "node:os"
import { resolve } from "node:path"

const file = resolve(import.meta.dirname, "../../BENCHMARKS.md")

export const isTiny = process.env.HOLDFAST_BENCH_TINY === "1"

const introduction = `# Benchmarks

Each section is written by its bench and replaced when that is run again. Absolute figures say little about another machine;
the ratios to a ceiling measured in the same run say more.
`

export interface Section {
  /** As in the file name: \`commands\` for commands.bench.ts. */
  readonly name: string
  readonly title: string
  /** Markdown: tables by \`table\`, then what the figures mean and where the time goes. */
  readonly body: string
}

export const writeSection = ({ body, name, title }: Section): void => {
  const [begin, end] = [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`]
  const section = `${begin}\n## ${title}\n\n\`pnpm bench ${name}\` on ${machine()}.\n\n${body.trim()}\n${end}`
  if (isTiny) {
    process.stdout.write(`${section}\n\nA tiny run: the figures are worth nothing, and BENCHMARKS.md is as it was.\n`)
    return
  }
  const before = existsSync(file) ? readFileSync(file, "utf8") : introduction
  const [start, stop] = [before.indexOf(begin), before.indexOf(end)]
  const after =
    start === -1 || stop === -1
      ? `${before.trimEnd()}\n\n${section}\n`
      : `${before.slice(0, start)}${section}${before.slice(stop + end.length)}`
  writeFileSync(file, after)
  process.stdout.write(`${section}\n`)
}

const machine = (): string => {
  const [processor] = cpus()
  const memoryGiB = Math.round(totalmem() / 1024 ** 3)
  const day = new Date().toISOString().slice(0, 10)
  return `${availableParallelism()} cores (${processor?.model.trim() ?? "unknown"}), ${memoryGiB} GiB, Node ${process.versions.node}, ${day}`
}

/** A Markdown table; numbers are right-aligned. */
export const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string | number>>): string => {
  const line = (cells: ReadonlyArray<string | number>) => `| ${cells.join(" | ")} |`
  const alignment = head.map((_, column) => (rows.every((row) => typeof row[column] === "number") ? "---:" : "---"))
  return [line(head), line(alignment), ...rows.map(line)].join("\n")
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = sorted.length >> 1
  const [upper = Number.NaN, lower = Number.NaN] = [sorted[middle], sorted[middle - 1]]
  return sorted.length % 2 === 1 ? upper : (lower + upper) / 2
}

/** The value below which so large a part of all lies: 0.99 for the 99th percentile. */
export const quantile = (values: ReadonlyArray<number>, part: number): number =>
  values.toSorted((left, right) => left - right)[Math.min(values.length - 1, Math.floor(values.length * part))] ??
  Number.NaN

/** Three significant digits: what such a measurement is worth. */
export const rounded = (value: number): number => Number(value.toPrecision(3))

export interface Bar {
  readonly what: string
  readonly value: number
  readonly unit?: string
  /** What it has to be at least, or at most. */
  readonly atLeast?: number
  readonly atMost?: number
}

/** What was asked for and what came of it; a bar that is missed is said loudly. */
export const barsTable = (bars: ReadonlyArray<Bar>): string =>
  table(
    ["what", "measured", "asked for", ""],
    bars.map(({ atLeast, atMost, unit = "", value, what }) => {
      const holds = value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY)
      const asked = [
        ...(atLeast === undefined ? [] : [`at least ${atLeast}`]),
        ...(atMost === undefined ? [] : [`at most ${atMost}`])
      ]
      return [what, `${rounded(value)}${unit}`, `${asked.join(", ")}${unit}`, holds ? "held" : "**missed**"]
    })
  )
