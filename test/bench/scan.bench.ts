// The scan stage as the file worker runs it (ends read, hash checked on the way, guard, verdict) against INSTREAM and nothing else, to the
// same clamd with the same files from the same disk, alternating.
import { createHash, randomBytes, randomUUIDv7 } from "node:crypto"
import { once } from "node:events"
import { createReadStream, rmSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { setFlagsFromString } from "node:v8"
import { FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import type { FileInHand } from "@holdfast/files/FileInHand"
import { run as scanStage } from "@holdfast/files/steps/Scan"
import { Health } from "@holdfast/resilience/Health"
import * as InspectorProcess from "@holdfast/scanner/InspectorProcess"
import * as ScannerClamAv from "@holdfast/scanner/ScannerClamAv"
import { Quarantine } from "@holdfast/storage/BlobStore"
import * as BlobStoreDisk from "@holdfast/storage/BlobStoreDisk"
import { Effect, Layer, Stream } from "effect"
import { barsTable, isTiny, median, rounded, table, writeSection } from "./Report.ts"
import { newFolder } from "./UploadServers.ts"

// As the file worker does.
setFlagsFromString("--external-memory-accounted-in-global-limit")

const fileMebibytes = isTiny ? 4 : 8
const files = isTiny ? 4 : 24
const rounds = isTiny ? 1 : 5
const atOnceCounts = [1, 4] as const

const clamdUrl = process.env.HOLDFAST_TEST_CLAMD_URL ?? ""
const folder = newFolder()
const root = join(folder, "quarantine")

/** Text, as most of what people send is at the end: clamd looks through all of it and finds nothing to unpack. */
const contents = Array.from({ length: files }, () => Buffer.from(randomBytes(fileMebibytes << 19).toString("hex")))

const inHand = (bytes: Buffer): FileInHand => ({
  attachment: {
    fileId: FileId.make(randomUUIDv7()),
    ownerId: PrincipalId.make("bench"),
    sha256: Sha256.make(createHash("sha256").update(bytes).digest("hex")),
    sizeBytes: bytes.length,
    declaredType: "text/plain",
    mediaType: "text/plain",
    derivatives: [],
    ...{ state: "identified", parkedAt: null }
  },
  name: "bench.txt",
  retries: 0,
  rescans: 0
})

/** Where the quarantine has it. */
const pathOf = ({ attachment: { sha256 } }: FileInHand): string => join(root, sha256.slice(0, 2), sha256)

const raw = async (file: FileInHand): Promise<void> => {
  const { hostname, port } = new URL(clamdUrl)
  const socket = connect({ host: hostname, port: Number(port) })
  await once(socket, "connect")
  socket.write("zINSTREAM\0")
  for await (const chunk of createReadStream(pathOf(file))) {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(chunk.length)
    socket.write(length)
    if (!socket.write(chunk)) await once(socket, "drain")
  }
  socket.write(Buffer.alloc(4))
  let answer = ""
  for await (const chunk of socket) answer += String(chunk)
  if (!answer.includes("OK")) throw new Error(`clamd answered ${answer}`)
}

const stage = (file: FileInHand) =>
  Effect.flatMap(scanStage(file, "reject"), ({ outcome }) =>
    outcome._tag === "Clean" ? Effect.void : Effect.die(new Error(`the stage ended with ${outcome._tag}`))
  )

/** MiB a second. */
const speed = <E, R>(
  all: ReadonlyArray<FileInHand>,
  atOnce: number,
  scan: (file: FileInHand) => Effect.Effect<void, E, R>
) =>
  Effect.gen(function* () {
    const beganAt = performance.now()
    yield* Effect.forEach(all, scan, { concurrency: atOnce, discard: true })
    return (files * fileMebibytes * 1000) / (performance.now() - beganAt)
  })

interface Measured {
  readonly atOnce: number
  readonly raw: number
  readonly stage: number
  readonly ratio: number
}

const measure = Effect.fnUntraced(function* (all: ReadonlyArray<FileInHand>, atOnce: number) {
  const [raws, stages]: [Array<number>, Array<number>] = [[], []]
  for (let round = 0; round < rounds; round++) {
    raws.push(yield* speed(all, atOnce, (file) => Effect.promise(() => raw(file))))
    stages.push(yield* speed(all, atOnce, stage))
  }
  const ratio = median(stages.map((value, index) => value / (raws[index] ?? Number.NaN)))
  const measured: Measured = { atOnce, raw: median(raws), stage: median(stages), ratio }
  return measured
})

const program = Effect.gen(function* () {
  const quarantine = yield* Quarantine
  const all = contents.map(inHand)
  for (const [index, bytes] of contents.entries()) {
    const file = all[index]
    if (file !== undefined) yield* quarantine.put(file.attachment.sha256, Stream.make(bytes))
  }
  // What is loaded and asked once is no part of it.
  yield* Effect.forEach(all.slice(0, 2), (file) =>
    Effect.andThen(
      stage(file),
      Effect.promise(() => raw(file))
    )
  )
  return yield* Effect.forEach(atOnceCounts, (atOnce) => measure(all, atOnce))
}).pipe(
  Effect.provide(
    Layer.mergeAll(
      BlobStoreDisk.layerQuarantine({ root, freeBytesMin: 0 }),
      ScannerClamAv.layer({ url: clamdUrl }),
      InspectorProcess.layer({ folder: join(folder, "work") })
    ).pipe(Layer.provideMerge(Health.layer))
  )
)

const measured = await Effect.runPromise(program)
rmSync(folder, { recursive: true, force: true })
writeSection({
  name: "scan",
  title: "Scan: the stage against raw INSTREAM",
  body: `${files} files of ${fileMebibytes} MiB of text, so many at once, MiB a second; the same clamd and the same files on the disk, alternating, median of ${rounds}. The stage
reads the ends for the inspector, checks the content's SHA-256 on the way, asks clamd for its version first, and runs within the scanner's guard.

${table(
  ["at once", "raw INSTREAM (MiB/s)", "scan stage (MiB/s)", "ratio"],
  measured.map((one) => [one.atOnce, rounded(one.raw), rounded(one.stage), rounded(one.ratio)])
)}

${barsTable(measured.map(({ atOnce, ratio }) => ({ what: `stage to raw, ${atOnce} at once`, value: ratio, atLeast: 0.85 })))}`
})
process.exit(0)
