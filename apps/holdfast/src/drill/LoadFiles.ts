// Uploads by tus and downloads of what was released. An upload counts as accepted when the desk says that it has every byte; one whose answer
// was lost is asked for, as a tus client does, until it is known. What is downloaded must be the content that was promised.
import { createHash, randomBytes, randomUUID } from "node:crypto"
import { crc32, deflateSync } from "node:zlib"
import { DrillLoad } from "@holdfast/resilience/Limits"
import { Duration } from "effect"
import type { Watch } from "./LoadQueries.ts"
import { type Actor, anyOf, ask, asRecord, makeRing, type Ring, type World, wordsOf } from "./LoadWorld.ts"
import { type Pace, startPace } from "./Pace.ts"
import { jsonOf, type Raw } from "./Wire.ts"

interface Released {
  readonly fileId: string
  readonly owner: Actor
  readonly sha256: string
  readonly url: string
  readonly madeMs: number
}

interface Upload {
  readonly owner: Actor
  readonly bytes: Buffer
  readonly sha256: string
  readonly name: string
  readonly type: string
}

export interface FileLoad {
  readonly paces: ReadonlyArray<Pace>
  /** Settles when it is known of every upload whether it arrived, or sooner when told to stop asking. */
  settle(isOver: () => boolean): Promise<void>
}

export const startFiles = (world: World, watch: Watch, rates: { uploads: number; downloads: number }): FileLoad => {
  const released = makeRing<Released>(DrillLoad.downloadsKeptMax)
  const unknown = new Set<Promise<void>>()
  const { tally } = world
  let over = () => false
  const stuck = (path: "uploads" | "downloads") => (dueMs: number) =>
    tally.record({ path, dueMs, endMs: tally.nowMs(), outcome: "failed", error: "not sent: too many wait" })
  const isOver = () => over()
  const uploads = startPace({
    perSecond: rates.uploads,
    nowMs: tally.nowMs,
    send: (dueMs) => uploadOne(world, { watch, released, unknown, isOver }, dueMs),
    stuck: stuck("uploads")
  })
  const downloads = startPace({
    perSecond: rates.downloads,
    nowMs: tally.nowMs,
    send: (dueMs) => downloadOne(world, released, dueMs),
    stuck: stuck("downloads")
  })
  const settle = async (isTimeUp: () => boolean) => {
    over = isTimeUp
    await Promise.all(unknown)
  }
  return { paces: [uploads, downloads], settle }
}

interface Files {
  readonly watch: Watch
  readonly released: Ring<Released>
  readonly unknown: Set<Promise<void>>
  readonly isOver: () => boolean
}

const uploadOne = async (world: World, files: Files, dueMs: number): Promise<void> => {
  const { tally } = world
  const upload = makeUpload(anyOf(world.agents))
  const told = (outcome: "live" | "refused" | "failed", error: string) =>
    tally.record({ path: "uploads", dueMs, endMs: tally.nowMs(), outcome, error })
  const begun = await create(world, upload)
  if (typeof begun !== "string") return told(outcomeOf(begun), errorOf(begun))
  const sent = await append(world, upload, begun, 0)
  if (sent._tag === "Answer" && sent.status === 204) {
    told("live", "")
    return accepted(world, files, upload, begun)
  }
  told(outcomeOf(sent), errorOf(sent))
  const asking = learn(world, files, upload, begun).finally(() => files.unknown.delete(asking))
  files.unknown.add(asking)
}

const outcomeOf = (raw: Raw): "refused" | "failed" =>
  raw._tag === "Answer" && [429, 503, 507].includes(raw.status) ? "refused" : "failed"

const errorOf = (raw: Raw): string => {
  if (raw._tag === "None") return wordsOf(raw.why)
  const type = asRecord(jsonOf(raw.body))?.type
  return typeof type === "string" ? (type.split(":").at(-1) ?? "") : `status ${raw.status}`
}

const fileIdOf = (url: string): string => new URL(url).pathname.split("/").at(-1) ?? ""

const accepted = (world: World, files: Files, upload: Upload, url: string) => {
  const fileId = fileIdOf(url)
  world.ledger.upload({ fileId, sha256: upload.sha256, sizeBytes: upload.bytes.length, told: "accepted" })
  files.watch.add(() => isFinished(world, files.released, upload, fileId), world.tally.nowMs())
}

/** Asks where the upload stands and sends what is missing, until everything is there. */
const learn = async (world: World, files: Files, upload: Upload, url: string): Promise<void> => {
  world.ledger.upload({ fileId: fileIdOf(url), sha256: upload.sha256, sizeBytes: upload.bytes.length, told: "unknown" })
  while (!files.isOver()) {
    const raw = await world.wire.send({ ...common(upload, url), method: "HEAD" })
    const offset = raw._tag === "Answer" && raw.status === 200 ? Number(raw.headers["upload-offset"]) : undefined
    if (offset === upload.bytes.length) return accepted(world, files, upload, url)
    if (offset !== undefined) await append(world, upload, url, offset)
    else if (raw._tag === "Answer" && [404, 410].includes(raw.status)) return
    await new Promise((resolve) => setTimeout(resolve, Duration.toMillis(DrillLoad.repeatDelay)))
  }
}

const common = ({ owner }: Upload, url: string) => ({
  url,
  headers: { authorization: owner.authorization, "tus-resumable": "1.0.0" },
  deadline: DrillLoad.fileDeadline
})

const base64 = (text: string): string => Buffer.from(text).toString("base64")

/** The new upload's address, or why there is none. */
const create = async (world: World, upload: Upload): Promise<string | Raw> => {
  const base = `${world.target.fileUrl}/files/`
  const { headers, ...rest } = common(upload, base)
  const raw = await world.wire.send({
    ...{ ...rest, method: "POST" },
    headers: {
      ...headers,
      "upload-length": String(upload.bytes.length),
      "upload-metadata": `filename ${base64(upload.name)},filetype ${base64(upload.type)}`
    }
  })
  if (raw._tag === "None" || raw.status !== 201) return raw
  return new URL(raw.headers.location ?? "", base).href
}

const append = (world: World, upload: Upload, url: string, offset: number): Promise<Raw> => {
  const { headers, ...rest } = common(upload, url)
  return world.wire.send({
    ...{ ...rest, method: "PATCH", body: upload.bytes.subarray(offset) },
    headers: { ...headers, "content-type": "application/offset+octet-stream", "upload-offset": String(offset) }
  })
}

const isFinished = async (world: World, released: Ring<Released>, upload: Upload, fileId: string): Promise<boolean> => {
  const { data } = await ask(world, upload.owner, fileQuery, { id: fileId })
  const file = asRecord(data?.file)
  if (file?.state === "rejected") return true
  if (file?.state !== "released" || typeof file.downloadUrl !== "string") return false
  const url = file.downloadUrl
  const madeMs = world.tally.nowMs()
  released.add({ fileId, owner: upload.owner, sha256: contentOf(upload, url), url, madeMs })
  return true
}

const fileQuery = "query DrillFile($id: ID!) { file(id: $id) { state downloadUrl } }"

/** An image is made anew, so its content is the one that the link was signed for; anything else is as it was sent. */
const contentOf = ({ sha256, type }: Upload, url: string): string =>
  type.startsWith("image/") ? (new URL(url).searchParams.get("h") ?? "") : sha256

const downloadOne = async (world: World, released: Ring<Released>, dueMs: number): Promise<void> => {
  const { ledger, tally, wire } = world
  const file = released.pick()
  // Nothing was released yet, so nobody could have asked.
  if (file === undefined) return
  const url = await freshLink(world, released, file)
  const raw = await wire.send({ method: "GET", url, headers: {}, deadline: DrillLoad.fileDeadline })
  const told = (outcome: "live" | "refused" | "failed", error: string) =>
    tally.record({ path: "downloads", dueMs, endMs: tally.nowMs(), outcome, error })
  if (raw._tag === "None" || raw.status !== 200) return told(outcomeOf(raw), errorOf(raw))
  if (createHash("sha256").update(raw.body).digest("hex") === file.sha256) return told("live", "")
  ledger.downloadWrong()
  told("failed", "wrong content")
}

/** Renewed in time; where that fails the old one is tried, as it may live on. */
const freshLink = async (world: World, released: Ring<Released>, file: Released): Promise<string> => {
  const madeMs = world.tally.nowMs()
  if (madeMs - file.madeMs < Duration.toMillis(DrillLoad.linkRenewal)) return file.url
  const { data } = await ask(world, file.owner, fileQuery, { id: file.fileId })
  const url = asRecord(data?.file)?.downloadUrl
  if (typeof url !== "string") return file.url
  released.replace(file, { ...file, url, madeMs })
  return url
}

const imageShare = 0.1

const makeUpload = (owner: Actor): Upload => {
  const isImage = Math.random() < imageShare
  const bytes = isImage
    ? smallImage()
    : Buffer.from(`A file of a drill, ${randomUUID()}.\n${"It holds nothing.\n".repeat(100)}`)
  const sha256 = createHash("sha256").update(bytes).digest("hex")
  const name = isImage ? "drill.png" : "drill.txt"
  return { owner, bytes, sha256, name, type: isImage ? "image/png" : "text/plain" }
}

/** A PNG of 32 by 32 pixels, each image different. */
const smallImage = (): Buffer => {
  const side = 32
  const header = Buffer.from([0, 0, 0, side, 0, 0, 0, side, 8, 2, 0, 0, 0])
  const rows = Array.from({ length: side }, () => Buffer.concat([Buffer.from([0]), randomBytes(side * 3)]))
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  const parts = [
    imagePart("IHDR", header),
    imagePart("IDAT", deflateSync(Buffer.concat(rows))),
    imagePart("IEND", Buffer.alloc(0))
  ]
  return Buffer.concat([signature, ...parts])
}

const imagePart = (name: string, content: Buffer): Buffer => {
  const named = Buffer.concat([Buffer.from(name), content])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(content.length)
  const check = Buffer.alloc(4)
  check.writeUInt32BE(crc32(named))
  return Buffer.concat([length, named, check])
}
