// Eight uploads of 64 MiB at once through the file gateway, against the bare tus library and against a plain stream, on the same disk in the
// same run. The gateway also checks a token, hashes every byte, flushes to the disk before it acknowledges, moves the content into the
// quarantine and writes a journal entry; the others do none of this, so the ratio is the price of it.
import { randomBytes } from "node:crypto"
import { rmSync } from "node:fs"
import { Agent } from "node:http"
import { cpuSecondsOf, growthDuring } from "./ProcessCost.ts"
import { type Naming, profileParts } from "./Profile.ts"
import { barsTable, isTiny, median, rounded, table, writeSection } from "./Report.ts"
import { newFolder, type Running, startBare, startGateway, startPlain, uploadOne } from "./UploadServers.ts"

const uploadsAtOnce = isTiny ? 2 : 8
const sizeMebibytes = isTiny ? 8 : 64
const rounds = isTiny ? 1 : 5
const content = randomBytes(sizeMebibytes << 20)

interface Round {
  /** Over all uploads. */
  readonly mebibytesPerSecond: number
  readonly growthMebibytes: number
  readonly cpuSecondsPerGibibyte: number
}

const round = async (start: () => Promise<Running>): Promise<Round> => {
  const server = await start()
  const agent = new Agent({ keepAlive: true })
  try {
    // What a process loads and compiles once is no part of it.
    await all(server, agent, content.subarray(0, 1 << 20))
    const cpuBefore = cpuSecondsOf(server.pid)
    const beganAt = performance.now()
    const growth = await growthDuring(server.pid, all(server, agent, content))
    const seconds = (performance.now() - beganAt) / 1000
    return {
      mebibytesPerSecond: (uploadsAtOnce * sizeMebibytes) / seconds,
      growthMebibytes: growth / 2 ** 20,
      cpuSecondsPerGibibyte: ((cpuSecondsOf(server.pid) - cpuBefore) * 1024) / (uploadsAtOnce * sizeMebibytes)
    }
  } finally {
    agent.destroy()
    await server.stop()
  }
}

const all = (server: Running, agent: Agent, bytes: Buffer) =>
  Promise.all(
    Array.from({ length: uploadsAtOnce }, (_, index) =>
      uploadOne({ url: server.url, token: server.tokens[index], agent }, bytes)
    )
  )

const subjects = {
  "a plain stream to the disk": () => startPlain(),
  "bare `@tus/server` with `FileStore`": () => startBare(),
  "the same, flushing each upload": () => startBare("flushed"),
  "file gateway": () => startGateway(uploadsAtOnce)
}

const measured = Object.entries(subjects).map(([name, start]) => ({ name, start, rounds: [] as Round[] }))
// In turn, so that what the machine does meanwhile hits all of them.
for (let index = 0; index < rounds; index++) for (const one of measured) one.rounds.push(await round(one.start))

const medianOf = (name: keyof typeof subjects, value: (one: Round) => number): number =>
  median((measured.find((one) => one.name === name)?.rounds ?? []).map(value))
const speed = ({ mebibytesPerSecond }: Round) => mebibytesPerSecond
const ratioTo = (name: keyof typeof subjects) => medianOf("file gateway", speed) / medianOf(name, speed)

const naming: Naming = [
  ["SHA-256", /node:internal\/crypto/],
  ["the file flow", /packages\/flows\/files/],
  ["Effect", /\/effect\//],
  ["streams", /node:internal\/(streams|webstreams)|node:stream/],
  ["files", /node:(internal\/)?fs/],
  ["HTTP and sockets", /node:(_?http|net|internal\/http)|node:internal\/(net|stream_base)/],
  ["Node, other", /^node:/]
]
const profileFolder = newFolder()
await round(() => startGateway(uploadsAtOnce, ["--cpu-prof", `--cpu-prof-dir=${profileFolder}`]))
const parts = profileParts(profileFolder, naming)
rmSync(profileFolder, { recursive: true, force: true })

writeSection({
  name: "upload",
  title: "Upload: the file gateway against the bare tus library and a plain stream",
  body: `${uploadsAtOnce} uploads of ${sizeMebibytes} MiB at once, one PATCH each, the client on the same machine; ${rounds} rounds in turn, medians. Memory: by how much the
process grows at its highest, after a first MiB of each. Processor time: of the server's process, without the client's.

${table(
  ["", "MiB/s", "rounds", "memory grows by (MiB)", "processor (s/GiB)"],
  measured.map(({ name, rounds: each }) => [
    name,
    rounded(median(each.map(speed))),
    each.map((one) => rounded(speed(one))).join(", "),
    rounded(median(each.map(({ growthMebibytes }) => growthMebibytes))),
    rounded(median(each.map(({ cpuSecondsPerGibibyte }) => cpuSecondsPerGibibyte)))
  ])
)}

${barsTable([
  { what: "gateway to the bare library", value: ratioTo("bare `@tus/server` with `FileStore`"), atLeast: 0.9 },
  {
    what: "the gateway's memory grows by",
    value: medianOf("file gateway", ({ growthMebibytes }) => growthMebibytes),
    unit: " MiB",
    atMost: 64
  }
])}

To the library that flushes: ${rounded(ratioTo("the same, flushing each upload"))}; to a plain stream: ${rounded(ratioTo("a plain stream to the disk"))}. The gateway's bytes are on the disk (flushed), hashed with SHA-256,
in the quarantine and journalled when the last PATCH is answered; those of the unflushed others are in the page cache.

Where the gateway's processor time goes (start included):

${table(
  ["part", "share, %"],
  parts.slice(0, 8).map(({ name, share }) => [name, rounded(share * 100)])
)}`
})
