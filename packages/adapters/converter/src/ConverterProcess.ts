// Conversion in child processes (see Sandbox), so that a hostile file can at worst end its own child: an image is copied by `sharp`, a
// document's first page drawn by Poppler, an office document first made a PDF by LibreOffice. An image's child that dies of its limits
// says something about the image, so the outcome is `Bad`; one that cannot be started, or that the clock ends before its processor time is used
// up, says something about this machine: `Unavailable`.
// A document is released either way: what could not be drawn, and why, is in the outcome.
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import type { Tool } from "@holdfast/contracts/attachment/Stages"
import { makeGuard } from "@holdfast/resilience/Guard"
import { Breaker, Converter as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { compiledCode, none } from "@holdfast/sandbox/CompiledCode"
import type { Confinement } from "@holdfast/sandbox/Confinement"
import { confinement, type Ended, runConfined, type SandboxLimits } from "@holdfast/sandbox/Sandbox"
import { ByteSize, Duration, Effect, Layer, Option, Schema } from "effect"
import { type Conversion, type Converted, Converter, conversionOf } from "./Converter.ts"
import { makePrograms, type Program, type ProgramOptions, type Programs } from "./Programs.ts"

export interface ConverterOptions {
  /** Where conversions keep their files while they run; the system's temporary folder unless told. */
  readonly folder?: string
  readonly deadline?: Duration.Duration
  /** The program that converts; tests put a misbehaving one in its place. */
  readonly child?: string
  /** The programs that draw documents; those of the system unless told. */
  readonly programs?: ProgramOptions
}

export const layer = (options: ConverterOptions = {}) => Layer.effect(Converter, makeConverter(options))

/** What every conversion here works with. */
interface Workshop {
  readonly options: ConverterOptions
  readonly programs: Programs
  readonly confinement: Confinement
  readonly deadline: Duration.Duration
}

const makeConverter = Effect.fnUntraced(function* (options: ConverterOptions) {
  const deadline = options.deadline ?? Limits.deadline
  const shop: Workshop = {
    options,
    programs: makePrograms(options.programs ?? {}),
    confinement: yield* confinement,
    deadline
  }
  const guard = yield* makeGuard({
    dependency: "converter",
    // The child is killed at the limit; the guard's own deadline only backs that up.
    deadline: Duration.sum(deadline, Limits.killDeadline),
    concurrencyMax: Limits.atOnceMax,
    acquireDeadline: Limits.acquireDeadline,
    // Only trying a picture would tell.
    probe: Effect.void,
    rest: Breaker.restFar,
    toFailure: () => null
  })
  // One after the other: office program, page, picture, and the versions of the first two.
  const documentDeadline = Duration.sum(
    Duration.sum(Limits.officeDeadline, Duration.times(Limits.versionDeadline, 2)),
    Duration.sum(Duration.times(deadline, 2), Limits.killDeadline)
  )
  return Converter.of({
    convert: Effect.fn("Converter.convert")((given, mediaType) => {
      // The child works in a folder of its own.
      const path = resolve(given)
      const kind = conversionOf(mediaType)
      if (kind === "none") return Effect.succeed(nothing(`nothing is made of ${mediaType}`))
      if (kind === "picture") return guard.call(Effect.scoped(convertPicture(shop, path, mediaType)))
      return guard.call(Effect.scoped(drawDocument(shop, path, kind)), { deadline: documentDeadline })
    })
  })
})

const nothing = (detail: string): Conversion => ({
  _tag: "Converted",
  tool: { name: "none", version: "1" },
  outputs: [],
  detail
})

const unavailable = (detail: string): Unavailable =>
  new Unavailable({ dependency: "converter", reason: "refused", retryAfterMs: 1_000, detail })

const convertPicture = Effect.fnUntraced(function* (shop: Workshop, path: string, mediaType: string) {
  const folder = yield* temporaryFolder(shop)
  const ended = yield* runSharp(shop, folder, { path, mediaType })
  const kinds = { original: mediaType === "image/apng" ? "image/png" : mediaType, thumbnail: "image/webp" }
  return yield* conclude(shop, ended, folder, kinds)
})

/** A document's first page as a picture, or why there is none. */
const drawDocument = Effect.fnUntraced(function* (shop: Workshop, path: string, kind: "pdf" | "office") {
  const pdftoppm = yield* Effect.promise(shop.programs.pdftoppm)
  if (pdftoppm === null) return nothing("no preview: pdftoppm (poppler-utils) is not installed")
  const soffice = kind === "office" ? yield* Effect.promise(shop.programs.soffice) : null
  if (kind === "office" && soffice === null) return nothing("no preview: soffice (LibreOffice) is not installed")
  const folder = yield* temporaryFolder(shop)
  const used = [...(soffice === null ? [] : [`soffice ${soffice.version}`]), `pdftoppm ${pdftoppm.version}`].join(", ")
  const without = (detail: string): Conversion => ({
    ...{ _tag: "Converted", outputs: [], detail: `no preview: ${detail}` },
    tool: { name: `none/${shop.confinement}`, version: used }
  })
  const pdf = soffice === null ? path : yield* makePdf(shop, soffice, folder, path)
  if (pdf === null) return without("LibreOffice made nothing of it")
  const page = yield* drawPage(shop, pdftoppm, folder, pdf)
  if (page === null) return without("its first page cannot be drawn")
  const ended = yield* runSharp(shop, folder, {
    path: page,
    mediaType: "image/png",
    previewPixels: Limits.previewPixels
  })
  const conversion = yield* conclude(shop, ended, folder, { preview: "image/webp", thumbnail: "image/webp" }, used)
  return conversion._tag === "Bad" ? without("its first page cannot be drawn") : conversion
})

const documentLimits = (shop: Workshop): SandboxLimits => ({
  deadline: shop.deadline,
  cpuSecondsMax: Limits.cpuSecondsMax,
  dataBytesMax: Limits.dataBytesMax,
  fileBytesMax: Limits.outputBytesMax
})

/** Null when the program made nothing, for whatever reason. */
const makePdf = Effect.fnUntraced(function* (shop: Workshop, { path: program }: Program, folder: string, path: string) {
  const profile = `-env:UserInstallation=file://${join(folder, "profile")}`
  const calm = ["--headless", "--norestore", "--nologo", "--nolockcheck", "--nodefault", "--nofirststartwizard"]
  const outside = join(folder, "document")
  yield* runConfined({
    command: [program, profile, ...calm, "--convert-to", "pdf", "--outdir", outside, path],
    folder,
    readable: [path],
    environment: { HOME: folder, LANG: "C.UTF-8", PATH: "/usr/bin:/bin", SAL_USE_VCLPLUGIN: "svp" },
    limits: {
      ...documentLimits(shop),
      deadline: Limits.officeDeadline,
      cpuSecondsMax: Limits.officeCpuSecondsMax,
      dataBytesMax: Limits.officeDataBytesMax
    },
    dependency: "converter"
  })
  const made = yield* Effect.promise(() => readdir(outside).catch(() => []))
  const [name] = made.filter((candidate) => candidate.endsWith(".pdf"))
  return name === undefined ? null : join(outside, name)
})

const drawPage = Effect.fnUntraced(function* (shop: Workshop, { path: program }: Program, folder: string, pdf: string) {
  const page = join(folder, "page")
  const first = ["-f", "1", "-l", "1", "-singlefile", "-png", "-scale-to", String(Limits.previewPixels)]
  yield* runConfined({
    command: [program, ...first, pdf, page],
    folder,
    readable: [pdf],
    environment: { HOME: folder, LANG: "C.UTF-8" },
    limits: documentLimits(shop),
    dependency: "converter"
  })
  const drawn = `${page}.png`
  return (yield* Effect.promise(() => stat(drawn).catch(() => null))) === null ? null : drawn
})

interface PictureJob {
  readonly path: string
  readonly mediaType: string
  readonly previewPixels?: number
}

const childPath = fileURLToPath(new URL("./ConversionChild.ts", import.meta.url))
const heap = `--max-old-space-size=${Math.floor(ByteSize.toNumberUnsafe(Limits.heapBytesMax) / 2 ** 20)}`

const runSharp = Effect.fnUntraced(function* (shop: Workshop, folder: string, picture: PictureJob) {
  const { framesMax, pixelsMax, thumbnailPixels } = Limits
  const job = { ...picture, folder, pixelsMax, framesMax, thumbnailPixels }
  const { child } = shop.options
  const compiled = child === undefined ? yield* compiledCode(childPath) : none
  return yield* runConfined({
    command: [process.execPath, heap, child ?? childPath, JSON.stringify(job)],
    folder,
    readable: [picture.path, ...compiled.readable],
    environment: { ...compiled.environment, MALLOC_ARENA_MAX: "2", VIPS_CONCURRENCY: "1" },
    limits: documentLimits(shop),
    dependency: "converter"
  })
})

const temporaryFolder = ({ options }: Workshop) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        const parent = resolve(options.folder ?? tmpdir())
        await mkdir(parent, { recursive: true, mode: 0o700 })
        const folder = await mkdtemp(join(parent, "conversion-"))
        await chmod(folder, 0o700)
        return folder
      },
      catch: () => unavailable("no temporary folder")
    }),
    (folder) => Effect.ignore(Effect.tryPromise(() => rm(folder, { recursive: true, force: true })))
  )

const Answer = Schema.fromJsonString(
  Schema.Struct({
    outcome: Schema.Literals(["converted", "malformed", "limits_exceeded"]),
    detail: Schema.String,
    version: Schema.String
  })
)
const decodeAnswer = Schema.decodeUnknownOption(Answer)

/** @param kinds what is expected in the folder, with the media type of each */
const conclude = Effect.fnUntraced(function* (
  { confinement: how }: Workshop,
  ended: Ended,
  folder: string,
  kinds: Partial<Record<Converted["kind"], string>>,
  besides?: string
) {
  const answer = Option.getOrUndefined(decodeAnswer(ended.output.trim()))
  if (answer === undefined) return yield* unanswered(ended, how)
  const version = printable(besides === undefined ? answer.version : `${answer.version}, ${besides}`)
  const tool: Tool = { name: `sharp/${how}`, version }
  if (answer.outcome !== "converted") return bad(tool, answer.outcome, printable(answer.detail))
  const outputs: Array<Converted> = []
  for (const kind of ["original", "preview", "thumbnail"] as const) {
    const mediaType = kinds[kind]
    // The detail tells why there is no copy.
    if (mediaType === undefined || (kind === "original" && answer.detail !== "")) continue
    const output = yield* readOutput(folder, kind, mediaType)
    if (output === null) return bad(tool, "limits_exceeded", "the converted image is too large")
    outputs.push(output)
  }
  const detail = answer.detail === "" ? {} : { detail: printable(answer.detail) }
  return { _tag: "Converted", tool, outputs, ...detail } satisfies Conversion
})

const bad = (tool: Tool, reason: "malformed" | "limits_exceeded", detail: string): Conversion => ({
  _tag: "Bad",
  tool,
  reason,
  detail
})

/** Ended by a signal, it met a limit or crashed on the image. An exit code without an answer means that it never got to the image. */
const unanswered = ({ ranOutOfTime, wasKilled }: Ended, how: Confinement): Effect.Effect<Conversion, Unavailable> => {
  if (!wasKilled) return Effect.fail(unavailable("the child process does not work on this machine"))
  if (ranOutOfTime) return Effect.fail(outOfTime)
  const tool: Tool = { name: `sharp/${how}`, version: "unknown" }
  return Effect.succeed(bad(tool, "limits_exceeded", "the conversion ended at its limits"))
}

/** The same bytes must end the same on a machine that is busy. */
const outOfTime = new Unavailable({
  dependency: "converter",
  reason: "timeout",
  retryAfterMs: 1_000,
  detail: "the conversion got too little of the processors"
})

const readOutput = (folder: string, kind: Converted["kind"], mediaType: string) =>
  Effect.tryPromise({
    try: async (): Promise<Converted | null> => {
      const path = join(folder, kind)
      const { size } = await stat(path)
      if (size > ByteSize.toNumberUnsafe(Limits.outputBytesMax)) return null
      return { kind, mediaType, bytes: await readFile(path) }
    },
    catch: () => unavailable("what was converted is not there")
  })

const printable = (text: string): string => {
  const line = text
    .replace(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(0, 100)
  return line === "" ? "unnamed" : line
}
