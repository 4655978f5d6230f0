// The report of a long drill: a page that says what was done, with which command, and every promise with its count.
import { writeFile } from "node:fs/promises"
import { cpus, totalmem } from "node:os"
import { answeredIn, paths, phases, sentIn } from "@holdfast/holdfast/drill/Tally"
import { type EnduranceResult, faultsOf } from "./Endurance.ts"

export interface Told {
  readonly title: string
  readonly command: string
  /** What was done to the desk, in sentences. */
  readonly what: string
  readonly steps: ReadonlyArray<string>
}

export const writePage = (file: string, told: Told, result: EnduranceResult) =>
  writeFile(file, page(told, result, new Date()))

export const page = ({ command, steps, title, what }: Told, result: EnduranceResult, at: Date): string => {
  const { commands, feeds, log, uploads } = result.findings
  const faults = faultsOf(result.findings)
  const row = (cells: ReadonlyArray<string | number>) => `| ${cells.join(" | ")} |`
  const resyncs = result.feeds.reduce((sum, feed) => sum + feed.resyncs, 0)
  const cuts = result.feeds.reduce((sum, feed) => sum + feed.cuts, 0)
  return `# ${title}

\`${command}\` on ${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}), ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}, ${at.toISOString().slice(0, 10)}; ${(result.lastedMs / 60_000).toFixed(1)} minutes. Load, servers and desk share the machine.

${what}

**${faults.length === 0 ? "Every promise was kept." : `Not kept: ${faults.join("; ")}.`}**

| what was told | count |
| --- | --- |
${row(["commands acknowledged", result.told.acknowledged])}
${row(["refused in plain words, nothing done", result.told.refused])}
${row(["declined by a rule of the desk", result.told.declined])}
${row(["outcome unknown at first, then learnt by repeating the id", `${result.told.unknown}, ${result.told.resolved}`])}
${row(["of these: had been done before the answer was lost", result.told.hadBeenDone])}
${row(["uploads accepted", uploads.accepted])}

| what is there | count |
| --- | --- |
${row(["acknowledged and lost", commands.lost.count])}
${row(["applied twice", commands.doubled.count])}
${row(["applied though refused", commands.undenied.count])}
${row(["events in the log", log.events])}
${row(["positions missing", log.gaps])}
${row(["tickets and files whose order is broken", log.reordered.count + log.gapped.count])}
${row(["events parked", log.parked])}
${row(["uploads lost, doubled, with wrong content, unfinished", `${uploads.lost.count}, ${uploads.doubled.count}, ${uploads.wrongContent.count}, ${uploads.unfinished.count}`])}
${row(["views that differ from the log", result.findings.views.differing.count])}
${row(["downloads with wrong content", result.told.downloadsWrong])}

| subscriber | should have | received | missing | twice | out of order | not permitted |
| --- | --- | --- | --- | --- | --- | --- |
${feeds.map((feed) => row([feed.terms.number, feed.expected, feed.received, feed.missing, feed.doubled, feed.reordered, feed.unexpected])).join("\n")}

Subscribers were cut ${cuts} times and came back with their position; told to read a snapshot ${resyncs} times.

| path | requests | answered | refused in plain words | outcome unknown | failed |
| --- | --- | --- | --- | --- | --- |
${paths.map((path) => row(pathCells(result, path))).join("\n")}

A request fails here when it meets a process or server at the moment of its death: nothing stands between these clients and a single copy of each process, and they do not repeat reads.

| process | memory at first (MiB) | at the end | most |
| --- | --- | --- | --- |
${result.memory.map(({ first, last, most, name }) => row([name, first.toFixed(0), last.toFixed(0), most.toFixed(0)])).join("\n")}

<details><summary>The ${steps.length} steps</summary>

${steps.map((line) => `- ${line}`).join("\n")}

</details>
`
}

const pathCells = ({ tally }: EnduranceResult, path: (typeof paths)[number]) => {
  const cells = phases.map((phase) => tally.cell(path, phase))
  const sum = (count: (cell: (typeof cells)[number]) => number) => cells.reduce((all, cell) => all + count(cell), 0)
  return [
    path,
    sum(sentIn),
    sum(answeredIn),
    sum(({ counts }) => counts.refused),
    sum(({ counts }) => counts.unknown),
    sum(({ counts }) => counts.failed)
  ]
}
