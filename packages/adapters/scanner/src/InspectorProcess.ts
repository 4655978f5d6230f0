// Inspection in a child process (see Sandbox), so that a hostile file can at worst end its own child. Files with nothing inside cost a look
// at their ends. A child that dies of its limits says something about the file, so it counts as beyond the budget; one that cannot be
// started, or that the clock ends before its processor time is used up, says something about this machine: `Unavailable`.
import { chmod, mkdir, mkdtemp, open, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { RejectionReason, type Tool } from "@holdfast/contracts/attachment/Stages"
import { makeGuard } from "@holdfast/resilience/Guard"
import { Breaker, Converter, Inspection as Limits } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { compiledCode, none } from "@holdfast/sandbox/CompiledCode"
import { confinement, type Ended, runConfined } from "@holdfast/sandbox/Sandbox"
import { ByteSize, Duration, Effect, Layer, Option, Schema, Stream } from "effect"
import { containerOf } from "./Containers.ts"
import { type Inspection, type InspectionRequest, Inspector } from "./Inspector.ts"

export interface InspectorOptions {
  /** Where files lie while they are looked into; the system's temporary folder unless told. */
  readonly folder?: string
  /** The program that looks; tests put a misbehaving one in its place. */
  readonly child?: string
  readonly deadline?: Duration.Duration
}

export const layer = (options: InspectorOptions = {}) => Layer.effect(Inspector, makeInspector(options))

/** Raised with every change of the rules, so that an outcome can be told from an older one. */
const version = "1"

const makeInspector = Effect.fnUntraced(function* (options: InspectorOptions) {
  const tool: Tool = { name: `holdfast-inspect/${yield* confinement}`, version }
  const limit = options.deadline ?? Limits.deadline
  const guard = yield* makeGuard({
    dependency: "converter",
    // The child is killed at the limit; the guard's own deadline only backs that up, and allows for the copy.
    deadline: Duration.sum(Duration.times(limit, 2), Limits.killDeadline),
    concurrencyMax: Limits.atOnceMax,
    acquireDeadline: Limits.acquireDeadline,
    // Only trying a file would tell.
    probe: Effect.void,
    rest: Breaker.restFar,
    toFailure: () => null
  })
  return Inspector.of({
    inspect: Effect.fn("Inspector.inspect")((request) =>
      containerOf(Buffer.from(request.head), Buffer.from(request.tail)) === null
        ? Effect.succeed<Inspection>({ _tag: "Passed", tool })
        : guard.call(Effect.scoped(inspect(request, tool, limit, options)))
    )
  })
})

const unavailable = (detail: string): Unavailable =>
  new Unavailable({ dependency: "converter", reason: "refused", retryAfterMs: 1_000, detail })

const childPath = fileURLToPath(new URL("./InspectionChild.ts", import.meta.url))
const bytes = ByteSize.toNumberUnsafe

const budget = {
  expandedBytesMax: bytes(Limits.expandedBytesMax),
  ratioMax: Limits.ratioMax,
  ratioFromBytes: bytes(Limits.ratioFromBytes),
  entriesMax: Limits.entriesMax,
  depthMax: Limits.depthMax,
  documentBytesMax: bytes(Limits.documentBytesMax),
  entityBytesMax: bytes(Limits.entityBytesMax),
  pixelsMax: Converter.pixelsMax,
  headBytes: bytes(Limits.headBytes),
  tailBytes: bytes(Limits.tailBytes)
}

const inspect = Effect.fnUntraced(function* (
  request: InspectionRequest,
  tool: Tool,
  limit: Duration.Duration,
  options: InspectorOptions
) {
  const folder = yield* privateFolder(options.folder ?? tmpdir())
  const path = join(folder, "level-1")
  yield* copy(request, path)
  const job = { path, folder, limits: budget }
  const heap = `--max-old-space-size=${Math.floor(bytes(Limits.heapBytesMax) / 2 ** 20)}`
  const compiled = options.child === undefined ? yield* compiledCode(childPath) : none
  const ended = yield* runConfined({
    command: [process.execPath, heap, options.child ?? childPath, JSON.stringify(job)],
    folder,
    readable: compiled.readable,
    environment: { ...compiled.environment, MALLOC_ARENA_MAX: "2" },
    limits: { ...Limits, deadline: limit },
    dependency: "converter"
  })
  return yield* conclude(ended, tool)
})

const privateFolder = (parent: string) =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => {
        await mkdir(parent, { recursive: true, mode: 0o700 })
        const folder = await mkdtemp(join(resolve(parent), "inspection-"))
        await chmod(folder, 0o700)
        return folder
      },
      catch: () => unavailable("no temporary folder")
    }),
    (folder) => Effect.ignore(Effect.tryPromise(() => rm(folder, { recursive: true, force: true })))
  )

const copy = (request: InspectionRequest, path: string) =>
  Effect.scoped(
    Effect.gen(function* () {
      const file = yield* Effect.acquireRelease(
        disk(() => open(path, "wx", 0o600)),
        (opened) => Effect.ignore(disk(() => opened.close()))
      )
      yield* Stream.runForEach(request.content, (chunk) => disk(() => file.writeFile(chunk)))
    })
  )

const disk = <A>(run: () => Promise<A>): Effect.Effect<A, Unavailable> =>
  Effect.tryPromise({ try: run, catch: () => unavailable("no private copy could be written") })

const Answer = Schema.fromJsonString(
  Schema.Union([
    Schema.Struct({ outcome: Schema.Literal("passed") }),
    Schema.Struct({
      outcome: Schema.Literals(["bad", "opaque"]),
      reason: RejectionReason,
      detail: Schema.String
    })
  ])
)
const decodeAnswer = Schema.decodeUnknownOption(Answer)

const conclude = (ended: Ended, tool: Tool): Effect.Effect<Inspection, Unavailable> => {
  const answer = Option.getOrUndefined(decodeAnswer(ended.output.trim()))
  if (answer === undefined) return unanswered(ended, tool)
  if (answer.outcome === "passed") return Effect.succeed({ _tag: "Passed", tool })
  const { reason } = answer
  const detail = answer.detail.replace(/[^\x20-\x7e]+/g, " ").slice(0, 300)
  return Effect.succeed({ _tag: answer.outcome === "bad" ? "Bad" : "Opaque", tool, reason, detail })
}

/** An exit code of its own without an answer means that the child does not work here, and says nothing about the file. */
const unanswered = ({ ranOutOfTime, wasKilled }: Ended, tool: Tool): Effect.Effect<Inspection, Unavailable> => {
  if (!wasKilled) return Effect.fail(unavailable("the child process does not work on this machine"))
  if (ranOutOfTime) return Effect.fail(outOfTime)
  return Effect.succeed({
    _tag: "Opaque",
    tool,
    reason: "limits_exceeded",
    detail: "looking inside ended at its limits"
  })
}

/** The same bytes must end the same on a machine that is busy. */
const outOfTime = new Unavailable({
  dependency: "converter",
  reason: "timeout",
  retryAfterMs: 1_000,
  detail: "looking inside got too little of the processors"
})
