// Conversion in a child process, so that a hostile image can at worst end its own child: bounded in time, processor time, memory
// and what it may write, and killed with everything it started when its time is over. A child that dies of its limits says
// something about the image, so the outcome is `Bad`; one that cannot be started says something about this machine: `Unavailable`.
import { type ChildProcess, spawn } from "node:child_process"
import { chmod, mkdtemp, readFile, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Tool } from "@holdfast/contracts/attachment/Stages"
import { makeGuard } from "@holdfast/resilience/Guard"
import { Breaker, Converter as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { ByteSize, Duration, Effect, Layer, Option, Schema } from "effect"
import { type Conversion, type Converted, Converter } from "./Converter.ts"

export interface ConverterOptions {
  /** Where conversions keep their files while they run; the system's temporary folder unless told. */
  readonly folder?: string
  readonly deadline?: Duration.Duration
  /** The program that converts; tests put a misbehaving one in its place. */
  readonly child?: string
}

export const layer = (options: ConverterOptions = {}) => Layer.effect(Converter, makeConverter(options))

/** Read once here, so that outcomes that never reached the child name the same tool. */
const toolName = "sharp"
const toolUnknown: Tool = { name: toolName, version: "unknown" }

const convertible = new Set(["image/png", "image/apng", "image/jpeg", "image/webp", "image/gif"])

const makeConverter = Effect.fnUntraced(function* (options: ConverterOptions) {
  const limit = options.deadline ?? Limits.deadline
  const guard = yield* makeGuard({
    dependency: "converter",
    // The child is killed at the limit; the guard's own deadline only backs that up.
    deadline: Duration.sum(limit, Limits.killDeadline),
    concurrencyMax: Limits.atOnceMax,
    acquireDeadline: Limits.acquireDeadline,
    // Only trying a picture would tell.
    probe: Effect.void,
    rest: Breaker.restFar,
    toFailure: () => null
  })
  return Converter.of({
    convert: Effect.fn("Converter.convert")((path, mediaType) =>
      convertible.has(mediaType)
        ? guard.call(Effect.scoped(convert(path, mediaType, limit, options)))
        : Effect.succeed<Conversion>({ _tag: "Converted", tool: { name: "none", version: "1" }, outputs: [] })
    )
  })
})

const unavailable = (detail: string): Unavailable =>
  new Unavailable({ dependency: "converter", reason: "refused", retryAfterMs: 1_000, detail })

const convert = Effect.fnUntraced(function* (
  path: string,
  mediaType: string,
  limit: Duration.Duration,
  options: ConverterOptions
) {
  const folder = yield* temporaryFolder(options.folder ?? tmpdir())
  const job = {
    path,
    mediaType,
    folder,
    pixelsMax: Limits.pixelsMax,
    framesMax: Limits.framesMax,
    thumbnailPixels: Limits.thumbnailPixels
  }
  const ended = yield* runChild(options.child ?? childPath, job, limit)
  return yield* conclude(ended, folder, mediaType)
})

const childPath = fileURLToPath(new URL("./ConversionChild.ts", import.meta.url))

const temporaryFolder = (parent: string) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        const folder = await mkdtemp(join(parent, "conversion-"))
        await chmod(folder, 0o700)
        return folder
      },
      catch: () => unavailable("no temporary folder")
    }),
    (folder) => Effect.ignore(Effect.tryPromise(() => rm(folder, { recursive: true, force: true })))
  )

interface Ended {
  readonly output: string
  /** Null when a signal ended it. */
  readonly code: number | null
  readonly ranOutOfTime: boolean
}

const megabytes = (size: ByteSize.ByteSize): number => Math.floor(ByteSize.toNumberUnsafe(size) / 2 ** 20)
const outputTextMax = 16_384

/** A shell sets what Node cannot: limits that the kernel keeps. What a system does not know (memory on macOS) it leaves out. */
const limits = [
  `ulimit -t ${Limits.cpuSecondsMax}`,
  `ulimit -f ${Math.ceil(ByteSize.toNumberUnsafe(Limits.outputBytesMax) / 512)}`,
  `ulimit -d ${Math.ceil(ByteSize.toNumberUnsafe(Limits.dataBytesMax) / 1024)}`,
  "ulimit -c 0"
]
const limited = `${limits.map((line) => `${line} 2>/dev/null || :`).join("; ")}; exec "$@"`

const start = (program: string, job: unknown): ChildProcess =>
  spawn(
    "/bin/sh",
    [
      "-c",
      limited,
      "sh",
      process.execPath,
      `--max-old-space-size=${megabytes(Limits.heapBytesMax)}`,
      program,
      JSON.stringify(job)
    ],
    // A group of its own, so that all of it can be ended; none of this process's environment, which holds secrets.
    { detached: true, env: { MALLOC_ARENA_MAX: "2", VIPS_CONCURRENCY: "1" }, stdio: ["ignore", "pipe", "ignore"] }
  )

const runChild = (program: string, job: unknown, limit: Duration.Duration): Effect.Effect<Ended, Unavailable> =>
  Effect.callback<Ended, Unavailable>((resume) => {
    const child = start(program, job)
    let output = ""
    let ranOutOfTime = false
    const timer = setTimeout(() => {
      ranOutOfTime = true
      kill(child)
    }, Duration.toMillis(limit))
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString("utf8")
      if (output.length > outputTextMax) kill(child)
    })
    child.once("error", () => resume(Effect.fail(unavailable("the child process could not be started"))))
    child.once("close", (code) => {
      clearTimeout(timer)
      resume(Effect.succeed({ output, code, ranOutOfTime }))
    })
    return Effect.sync(() => {
      clearTimeout(timer)
      kill(child)
    })
  })

const kill = (child: ChildProcess): void => {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(-child.pid, "SIGKILL")
  } catch (error) {
    // Ended in the same moment.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error
  }
}

const Answer = Schema.fromJsonString(
  Schema.Struct({
    outcome: Schema.Literals(["converted", "malformed", "limits_exceeded"]),
    detail: Schema.String,
    version: Schema.String
  })
)
const decodeAnswer = Schema.decodeUnknownOption(Answer)

const conclude = Effect.fnUntraced(function* (ended: Ended, folder: string, mediaType: string) {
  const answer = Option.getOrUndefined(decodeAnswer(ended.output.trim()))
  if (answer === undefined) return yield* unanswered(ended)
  const tool: Tool = { name: toolName, version: printable(answer.version) }
  if (answer.outcome !== "converted") {
    return bad(tool, answer.outcome, printable(answer.detail))
  }
  const original = yield* readOutput(folder, "original", mediaType === "image/apng" ? "image/png" : mediaType)
  const thumbnail = yield* readOutput(folder, "thumbnail", "image/webp")
  return original === null || thumbnail === null
    ? bad(tool, "limits_exceeded", "the converted image is too large")
    : ({ _tag: "Converted", tool, outputs: [original, thumbnail] } satisfies Conversion)
})

const bad = (tool: Tool, reason: "malformed" | "limits_exceeded", detail: string): Conversion => ({
  _tag: "Bad",
  tool,
  reason,
  detail
})

/** Ended by a signal, it met a limit or crashed on the image. An exit code without an answer means that it never got to the image. */
const unanswered = ({ code, ranOutOfTime }: Ended): Effect.Effect<Conversion, Unavailable> => {
  if (code !== null) return Effect.fail(unavailable("the child process does not work on this machine"))
  const detail = ranOutOfTime ? "the conversion ran out of time" : "the conversion ended at its limits"
  return Effect.succeed(bad(toolUnknown, "limits_exceeded", detail))
}

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
