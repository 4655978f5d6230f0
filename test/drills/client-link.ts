// The long form of the bad line: `node test/drills/client-link.ts`. Exit code 0 only when every promise was kept. Needs Linux and root.
import { writeFile } from "node:fs/promises"
import { cpus } from "node:os"
import { parseArgs } from "node:util"
import { Uploads } from "@holdfast/client/Limits"
import { Effect } from "effect"
import { badLine, type LinkResult, runOverLink } from "../failure/ClientLink.ts"

const { values } = parseArgs({
  options: {
    tickets: { type: "string", default: "4" },
    notes: { type: "string", default: "40" },
    every: { type: "string", default: "3000" },
    upload: { type: "string", default: "1024" },
    cut: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    report: { type: "string" }
  }
})

const run = {
  seed: Number(values.seed),
  profile: badLine,
  cutEveryMs: Number(values.cut),
  cutForMs: 1_000,
  tickets: Number(values.tickets),
  notes: Number(values.notes),
  noteEveryMs: Number(values.every),
  uploadBytes: Number(values.upload) * 1024,
  report: (line: string) => void process.stderr.write(`${line}\n`)
}
const result = await Effect.runPromise(Effect.scoped(runOverLink(run)))

const isSame = (one: ReadonlyArray<unknown>, other: ReadonlyArray<unknown>) =>
  one.length === other.length && one.every((value, index) => value === other[index])

const faultsOf = ({ cuts, statuses, tickets, upload }: LinkResult): ReadonlyArray<string> => {
  const faults = [
    tickets.every(({ kept, present }) => isSame(kept, present)) ? null : "commands are lost, doubled or out of order",
    tickets.every(({ feed, truth }) => isSame(feed, truth)) ? null : "the feed is not exact",
    isSame(Object.keys(statuses), ["accepted"]) ? null : `outcomes were ${JSON.stringify(statuses)}`,
    upload.isWhole ? null : "the upload is not whole",
    upload.resentBytes <= cuts * Uploads.chunkBytesStart ? null : "more than a chunk was sent again per cut"
  ]
  return faults.filter((fault) => fault !== null)
}

const sum = (counts: ReadonlyArray<number>) => counts.reduce((total, count) => total + count, 0)

const page = (faults: ReadonlyArray<string>): string => {
  const { attempts, cuts, feedAway, feedSnapshots, packets, seconds, tickets, upload } = result
  const command = `node test/drills/client-link.ts ${process.argv.slice(2).join(" ")}`.trim()
  return `# The typed client over a bad line

\`${command}\` on ${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}), Node ${process.versions.node}, ${new Date().toISOString().slice(0, 10)}; ${(seconds / 60).toFixed(1)} minutes.

One client, 600 ms round trip, 5 % loss in each direction, 256 kbit/s (a TUN relay between two network namespaces), and every ${run.cutEveryMs / 1000} s a cut: all
connections reset and nothing passes for ${run.cutForMs / 1000} s. At once: ${run.tickets} tickets with ${run.notes} notes each through a file outbox, an upload of ${values.upload} KiB, a feed per ticket.

**${faults.length === 0 ? "Every promise was kept." : `Not kept: ${faults.join("; ")}.`}**

| | count |
| --- | --- |
| cuts | ${cuts} |
| packets offered, lost | ${packets.offered}, ${packets.lost} |
| commands kept, present at the desk | ${sum(tickets.map(({ kept }) => kept.length))}, ${sum(tickets.map(({ present }) => present.length))} |
| requests in all, repetitions and queries included | ${attempts} |
| events at the desk, given by the feeds | ${sum(tickets.map(({ truth }) => truth.length))}, ${sum(tickets.map(({ feed }) => feed.length))} |
| feeds told that they are away, read a snapshot | ${feedAway}, ${feedSnapshots} |
| upload: seconds, times resumed, KiB sent again (at most ${(cuts * Uploads.chunkBytesStart) / 1024}) | ${upload.seconds.toFixed(0)}, ${upload.resumed}, ${Math.ceil(upload.resentBytes / 1024)} |
`
}

const faults = faultsOf(result)
const text = page(faults)
process.stdout.write(text)
if (values.report !== undefined) await writeFile(values.report, text)
process.exitCode = faults.length === 0 ? 0 : 1
