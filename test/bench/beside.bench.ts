// Commands at a steady rate while files are uploaded, downloaded and scanned as fast as the machine goes, against the same commands on the idle
// desk, alternating: whether the desk notices the traffic. A desk by `holdfast up` on real servers, so that what keeps the two apart counts:
// processes of their own, scheduling class, niceness, pools.

import { execFileSync, fork } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { Agent } from "node:http"
import { join } from "node:path"
import { startStack } from "@holdfast/scripts/Stack"
import { placeSession } from "../../apps/holdfast/src/supervisor/Priority.ts"
import { type BenchDesk, released, startBenchDesk } from "./BenchDesk.ts"
import type { LoadOrder, LoadResult } from "./commands.load.ts"
import type { FileOrder, FileTraffic } from "./files.load.ts"
import { barsTable, isTiny, median, quantile, rounded, table, writeSection } from "./Report.ts"
import { uploadOne } from "./UploadServers.ts"

const rate = isTiny ? 20 : 300
const seconds = isTiny ? 3 : 20
const rounds = isTiny ? 1 : 5
const downloadMebibytes = isTiny ? 4 : 64

const commands = async ({ agents, desk }: BenchDesk): Promise<LoadResult> => {
  const child = fork(join(import.meta.dirname, "commands.load.ts"))
  const order: LoadOrder = {
    port: Number(new URL(desk.url.command).port),
    connections: 32,
    tokens: agents,
    durationMs: seconds * 1000,
    rate
  }
  child.send(order)
  const [result]: Array<LoadResult> = await once(child, "message")
  if (result === undefined) throw new Error("the load had no result")
  return result
}

/**
 * Behind everything: these are other machines in life, and would not compete with the desk for its processors. In a session of its own, since the
 * kernel may share out by session, where the scheduling class counts only within.
 */
const startFiles = async (order: FileOrder) => {
  const program = join(import.meta.dirname, "files.load.ts")
  const child = fork(program, { detached: true, execPath: "chrt", execArgv: ["--idle", "0", process.execPath] })
  await placeSession(child.pid ?? 0, { niceness: 19, diskLevel: 7 })
  child.send(order)
  return {
    stop: async (): Promise<FileTraffic> => {
      const told = once(child, "message")
      child.send("stop")
      const [traffic]: Array<FileTraffic> = await told
      if (traffic === undefined) throw new Error("the file traffic had no result")
      return traffic
    }
  }
}

interface Round {
  readonly idle: LoadResult
  readonly beside: LoadResult
  readonly traffic: FileTraffic
}

const measure = async (bench: BenchDesk, fileId: string): Promise<Round> => {
  const idle = await commands(bench)
  // A link lives for minutes, so each round has a new one.
  const link = await released(bench, fileId)
  const files = await startFiles({
    ...{ fileUrl: bench.desk.url.file, link, uploaders: bench.customers },
    ...{ downloaders: 4, uploadMebibytes: 16, smallEveryMs: 250 }
  })
  const beside = await commands(bench)
  const round = { idle, beside, traffic: await files.stop() }
  const [before, meanwhile] = [p99(round.idle), p99(round.beside)]
  process.stdout.write(`p99 idle ${rounded(before)} ms, beside files ${rounded(meanwhile)} ms\n`)
  return round
}

const p99 = ({ latenciesMs }: LoadResult) => quantile(latenciesMs, 0.99)
const refusedOf = ({ refused }: LoadResult) => Object.values(refused).reduce((sum, count) => sum + count, 0)
const mebibytesPerSecond = (bytes: number) => bytes / seconds / 2 ** 20

/** A clamd as `docs/operations/file-traffic.md` tells operators to run it. */
const startClamd = async () => {
  const stack = await startStack({ only: ["clamd"] })
  const pid = stack.servers.get("clamd")?.pid
  if (pid === undefined) throw new Error("clamd has no process")
  execFileSync("chrt", ["--all-tasks", "--batch", "--pid", "0", String(pid)])
  execFileSync("renice", ["--priority", "10", "--pid", String(pid)])
  await placeSession(pid, { niceness: 10, diskLevel: 7 })
  return stack
}

const clamd = await startClamd()
const bench = await startBenchDesk(
  { agents: 600, customers: 4 },
  { HOLDFAST_CLAMD_URL: clamd.environment.HOLDFAST_TEST_CLAMD_URL ?? "" }
)
try {
  const content = Buffer.from(randomBytes(downloadMebibytes << 19).toString("hex"))
  const sending = { url: bench.desk.url.file, token: bench.customers[0], agent: new Agent({ keepAlive: true }) }
  const path = await uploadOne({ ...sending, name: "large.txt", type: "text/plain" }, content)
  sending.agent.destroy()
  const fileId = path.split("/").at(-1) ?? ""
  await released(bench, fileId)
  // Until what is measured is compiled.
  await commands(bench)
  const measured: Array<Round> = []
  for (let round = 0; round < rounds; round++) measured.push(await measure(bench, fileId))
  const ratio = median(measured.map(({ beside, idle }) => p99(beside) / p99(idle)))
  writeSection({
    name: "beside",
    title: "Commands beside saturating uploads and downloads",
    body: `OpenTicket over REST at ${rate}/s, open loop, latency from when a request was due; ${rounds} rounds of ${seconds} s each, idle and beside files in turn. Beside: four
people upload 16 MiB at a time without a pause, four downloads of ${downloadMebibytes} MiB without a pause, and four small files a second go through the pipeline. The clients of the files
are on the same machine, in the scheduling class \`idle\`, since in life they are other machines; those of the commands are usual processes. clamd
stands back as \`docs/operations/file-traffic.md\` says.

${table(
  ["", "p50 (ms)", "p99 (ms)", "answered otherwise than 200"],
  (["idle", "beside"] as const).map((phase) => [
    phase === "idle" ? "idle" : "beside files",
    rounded(median(measured.map((one) => quantile(one[phase].latenciesMs, 0.5)))),
    rounded(median(measured.map((one) => p99(one[phase])))),
    measured.reduce((sum, one) => sum + refusedOf(one[phase]), 0)
  ])
)}

${barsTable([{ what: "p99 beside files to p99 idle, median of the rounds", value: ratio, atMost: 1.25 }])}

The files meanwhile, medians: ${rounded(median(measured.map(({ traffic }) => mebibytesPerSecond(traffic.uploadedBytes))))} MiB/s up, ${rounded(median(measured.map(({ traffic }) => mebibytesPerSecond(traffic.downloadedBytes))))} MiB/s down.`
  })
} finally {
  await bench.desk.stop()
  await clamd.stop()
}
process.exit(0)
