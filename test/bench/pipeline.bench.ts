// Small files from the first byte of the first upload to the release of the last, through a whole desk on real servers, by kind: text, which
// only the scanner reads, and what starts child processes of ours (an archive is looked into, a picture is made anew, a document is looked into and
// drawn). The ceiling is the same clamd with the same bytes and nothing else to do.
import { randomBytes } from "node:crypto"
import { Agent } from "node:http"
import { connect } from "node:net"
import { zip } from "@holdfast/testkit/hostile/Archives"
import { docx, pdf } from "@holdfast/testkit/hostile/Documents"
import sharp from "sharp"
import { type BenchDesk, released, startBenchDesk } from "./BenchDesk.ts"
import { isTiny, rounded, table, writeSection } from "./Report.ts"
import { uploadOne } from "./UploadServers.ts"

const clamdUrl = process.env.HOLDFAST_TEST_CLAMD_URL ?? ""
const people = 8
const atOnce = 4

interface Kind {
  readonly name: string
  readonly extension: string
  readonly type: string
  readonly count: number
  /** Each of its own: the same bytes are stored once. */
  readonly make: () => Buffer | Promise<Buffer>
}

const words = (bytes: number) => Buffer.from(randomBytes(bytes / 2).toString("hex"))
const count = (usual: number) => (isTiny ? 3 : usual)
const officeType = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

const kinds: ReadonlyArray<Kind> = [
  { name: "text, 20 KiB", extension: "txt", type: "text/plain", count: count(400), make: () => words(20_480) },
  {
    ...{ name: "ZIP of a text, 20 KiB", extension: "zip", type: "application/zip", count: count(60) },
    make: () => zip([{ name: "inside.txt", content: words(20_480) }])
  },
  {
    ...{ name: "PNG of 600 x 400", extension: "png", type: "image/png", count: count(60) },
    make: () =>
      sharp({
        create: {
          width: 600,
          height: 400,
          channels: 3,
          noise: { type: "gaussian", mean: 128, sigma: 30 },
          background: "white"
        }
      })
        .png()
        .toBuffer()
  },
  {
    ...{ name: "PDF of a page", extension: "pdf", type: "application/pdf", count: count(40) },
    make: () => pdf("", [{ dictionary: "", content: words(2_048) }])
  },
  {
    ...{ name: "docx", extension: "docx", type: officeType, count: count(20) },
    make: () =>
      docx({ "docProps/custom.xml": Buffer.from(`<?xml version="1.0"?><p>${randomBytes(8).toString("hex")}</p>`) })
  }
]

const rawScan = (bytes: Buffer): Promise<void> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(clamdUrl)
    const socket = connect({ host: hostname, port: Number(port) }, () => {
      const length = Buffer.alloc(4)
      length.writeUInt32BE(bytes.length)
      socket.write(Buffer.concat([Buffer.from("zINSTREAM\0"), length, bytes, Buffer.alloc(4)]))
    })
    socket.on("data", () => socket.destroy())
    socket.on("close", () => resolve())
    socket.on("error", reject)
  })

const inTurns = async <A>(items: ReadonlyArray<A>, lanes: number, work: (item: A, lane: number) => Promise<void>) => {
  let next = 0
  const lane = async (index: number) => {
    while (next < items.length) {
      const item = items[next++]
      if (item !== undefined) await work(item, index)
    }
  }
  await Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)))
}

const perSecond = async (total: number, work: () => Promise<unknown>): Promise<number> => {
  const beganAt = performance.now()
  await work()
  return (total * 1000) / (performance.now() - beganAt)
}

interface Measured {
  readonly kind: Kind
  readonly raw: number
  readonly pipeline: number
}

const measure = async (bench: BenchDesk, kind: Kind): Promise<Measured> => {
  const contents: Array<Buffer> = []
  for (let made = 0; made < kind.count; made++) contents.push(await kind.make())
  const raw = await perSecond(kind.count, () => inTurns(contents, atOnce, rawScan))
  const pipeline = await perSecond(kind.count, () => through(bench, kind, contents))
  process.stdout.write(`${kind.name}: raw ${rounded(raw)}/s, pipeline ${rounded(pipeline)}/s\n`)
  return { kind, raw, pipeline }
}

const through = async (bench: BenchDesk, { extension, type }: Kind, contents: ReadonlyArray<Buffer>) => {
  const agent = new Agent({ keepAlive: true })
  const ids: Array<string> = []
  const sending = { url: bench.desk.url.file, agent, name: `bench.${extension}`, type }
  await inTurns(contents, people, async (bytes, lane) => {
    const path = await uploadOne({ ...sending, token: bench.customers[lane] }, bytes)
    ids.push(path.split("/").at(-1) ?? "")
  })
  agent.destroy()
  // One after the other, so that asking costs little of what is measured.
  for (const id of ids) await released(bench, id)
}

const bench = await startBenchDesk({ agents: 1, customers: people })
try {
  const [first] = kinds
  // Until what is measured is compiled.
  if (first !== undefined) await measure(bench, { ...first, count: count(100) })
  const measured: Array<Measured> = []
  for (const kind of kinds) measured.push(await measure(bench, kind))
  writeSection({
    name: "pipeline",
    title: "Pipeline: small files from upload to release",
    body: `${people} people upload at once; from the first byte of the first to the release of the last, seen through GraphQL. The ceiling is INSTREAM alone to the same clamd with the
same bytes, ${atOnce} at once: it has no upload, no flush, no database, no child process. Everything shares the machine, clients included.

${table(
  ["kind", "files", "raw INSTREAM (1/s)", "pipeline (1/s)", "ratio"],
  measured.map(({ kind, pipeline, raw }) => [
    kind.name,
    kind.count,
    rounded(raw),
    rounded(pipeline),
    rounded(pipeline / raw)
  ])
)}

Each stage is recorded by a durable command. A container starts one child process, a picture one, a PDF with a preview five, an office document seven, LibreOffice
among them; how much of a second each takes is the price of not letting a hostile file near the worker.`
  })
} finally {
  await bench.desk.stop()
}
process.exit(0)
