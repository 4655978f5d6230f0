// The child process that decodes one untrusted image and encodes it again, without metadata and upright, plus a thumbnail. It runs
// under the limits that ConverterProcess sets and may die at any point; its answer is one line of JSON, and what it made lies in the
// folder it was given. Threads and caches are off, so that the same bytes give the same outcome.
import { join } from "node:path"
import sharp, { type Sharp } from "sharp"

interface Job {
  readonly path: string
  readonly mediaType: string
  readonly folder: string
  readonly pixelsMax: number
  readonly framesMax: number
  readonly thumbnailPixels: number
}

interface Answer {
  readonly outcome: "converted" | "malformed" | "limits_exceeded"
  readonly detail: string
}

sharp.concurrency(1)
sharp.cache(false)
// Only the decoders of the formats below may run, whatever the content claims to be.
sharp.block({ operation: ["VipsForeignLoad"] })
sharp.unblock({
  operation: ["VipsForeignLoadPng", "VipsForeignLoadJpeg", "VipsForeignLoadWebp", "VipsForeignLoadNsgif"]
})

const formatOf = (mediaType: string): "png" | "jpeg" | "webp" | "gif" | null => {
  switch (mediaType) {
    case "image/png":
    case "image/apng":
      return "png"
    case "image/jpeg":
      return "jpeg"
    case "image/webp":
      return "webp"
    case "image/gif":
      return "gif"
    default:
      return null
  }
}

const convert = async (job: Job): Promise<Answer> => {
  const format = formatOf(job.mediaType)
  if (format === null) return { outcome: "malformed", detail: "not an image that can be converted" }
  const options = { limitInputPixels: job.pixelsMax, failOn: "error", sequentialRead: true } as const
  const { height = 0, pages = 1, pageHeight = height, width = 0 } = await sharp(job.path, options).metadata()
  if (pages > job.framesMax || width * pageHeight * pages > job.pixelsMax) {
    return { outcome: "limits_exceeded", detail: `${width} x ${pageHeight} pixels in ${pages} frames` }
  }
  const isAnimated = pages > 1
  await encode(sharp(job.path, { ...options, animated: isAnimated }).autoOrient(), format).toFile(
    join(job.folder, "original")
  )
  const side = job.thumbnailPixels
  const small = sharp(job.path, options).autoOrient().resize(side, side, { fit: "inside", withoutEnlargement: true })
  await small.webp({ quality: 80, effort: 2 }).toFile(join(job.folder, "thumbnail"))
  return { outcome: "converted", detail: "" }
}

const encode = (image: Sharp, format: "png" | "jpeg" | "webp" | "gif"): Sharp => {
  switch (format) {
    case "png":
      return image.png({ compressionLevel: 6 })
    case "jpeg":
      return image.jpeg({ quality: 90 })
    case "webp":
      return image.webp({ quality: 90, effort: 2 })
    case "gif":
      return image.gif({ effort: 3 })
  }
}

const refused = (error: unknown): Answer => {
  const message = error instanceof Error ? error.message : "not readable"
  return { outcome: /pixel limit/i.test(message) ? "limits_exceeded" : "malformed", detail: message }
}

const isJob = (value: unknown): value is Job => typeof value === "object" && value !== null && "path" in value

const job: unknown = JSON.parse(process.argv[2] ?? "null")
if (!isJob(job)) throw new Error("a job is needed")
const answer = await convert(job).catch(refused)
process.stdout.write(
  `${JSON.stringify({ ...answer, version: `${sharp.versions.sharp ?? ""} ${sharp.versions.vips}` })}\n`
)
