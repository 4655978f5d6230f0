// The child process that decodes one untrusted image and encodes it again, without metadata and upright, plus a thumbnail; or, of the
// picture that another program made of a document's first page, a preview and a thumbnail. It runs
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
  /** Set for a document's page: a preview of this size is made instead of a copy. */
  readonly previewPixels?: number
}

interface Answer {
  readonly outcome: "converted" | "malformed" | "limits_exceeded"
  readonly detail: string
}

sharp.concurrency(1)
sharp.cache(false)
// Only the decoder of the type that was found may run, whatever the content tells the library.
sharp.block({ operation: ["VipsForeignLoad"] })
const decoders: Readonly<Record<Format, string>> = {
  png: "VipsForeignLoadPng",
  jpeg: "VipsForeignLoadJpeg",
  webp: "VipsForeignLoadWebp",
  gif: "VipsForeignLoadNsgif",
  tiff: "VipsForeignLoadTiff"
}

type Format = "png" | "jpeg" | "webp" | "gif" | "tiff"

const formatOf = (mediaType: string): Format | null => {
  switch (mediaType) {
    case "image/tiff":
      return "tiff"
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
  sharp.unblock({ operation: [decoders[format]] })
  const options = { limitInputPixels: job.pixelsMax, failOn: "error", sequentialRead: true } as const
  const { height = 0, pages = 1, pageHeight = height, width = 0 } = await sharp(job.path, options).metadata()
  if (pages > job.framesMax || width * pageHeight * pages > job.pixelsMax) {
    return { outcome: "limits_exceeded", detail: `${width} x ${pageHeight} pixels in ${pages} frames` }
  }
  const shrunk = (side: number, kind: "thumbnail" | "preview") =>
    sharp(job.path, options)
      .autoOrient()
      .resize(side, side, { fit: "inside", withoutEnlargement: true })
      .webp({ quality: 80, effort: 2 })
      .toFile(join(job.folder, kind))
  await shrunk(job.thumbnailPixels, "thumbnail")
  if (job.previewPixels === undefined) return copy(job, sharp(job.path, { ...options, animated: pages > 1 }), format)
  await shrunk(job.previewPixels, "preview")
  return { outcome: "converted", detail: "" }
}

const copy = async (job: Job, image: Sharp, format: Format): Promise<Answer> => {
  try {
    await encode(image.autoOrient(), format).toFile(join(job.folder, "original"))
    return { outcome: "converted", detail: "" }
  } catch (error) {
    // Pages of different sizes are common in faxes, and no damage.
    const isUneven = format === "tiff" && error instanceof Error && /page|dimension|differ/i.test(error.message)
    if (!isUneven) throw error
    return { outcome: "converted", detail: "kept as uploaded: its pages differ in size" }
  }
}

const encode = (image: Sharp, format: Format): Sharp => {
  switch (format) {
    case "png":
      return image.png({ compressionLevel: 6 })
    case "jpeg":
      return image.jpeg({ quality: 90 })
    case "webp":
      return image.webp({ quality: 90, effort: 2 })
    case "gif":
      return image.gif({ effort: 3 })
    case "tiff":
      return image.tiff({ compression: "deflate" })
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
