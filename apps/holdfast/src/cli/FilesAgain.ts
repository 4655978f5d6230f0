// `holdfast files retry` sends parked files through the pipeline again, `holdfast files rescan` has released ones looked at again: at a pace that
// leaves room for everybody else, each command repeated under its id until its outcome is known. Then they are watched for a moment, and what
// became of each is said; where the desk's processes do not run, it is done when they do. Exit code 0 only when every file was asked for.
import { RescanFile, RetryFile } from "@holdfast/contracts/attachment/Commands"
import { CorrelationId, FileId, Position, PrincipalId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { CommandBus } from "@holdfast/contracts/wire/CommandBus"
import { type CataloguedFile, FileCatalog } from "@holdfast/database/FileCatalog"
import { ReleasedFiles } from "@holdfast/database/ReleasedFiles"
import { nextStage } from "@holdfast/domain/attachment/Attachment"
import { deriveCommandId } from "@holdfast/domain/DerivedId"
import { FileCommands as Limits } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Clock, Console, Duration, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { refuse } from "../Refusal.ts"
import { table } from "../Table.ts"
import { withFiles } from "./FilesServices.ts"
import { filesWhere } from "./FilesShow.ts"
import { secondsOf } from "./Lifetime.ts"
import { makeProgress } from "./Progress.ts"
import { json } from "./Up.ts"

const named = Argument.String("file").pipe(
  Argument.withDescription("The ids of files"),
  Argument.withSchema(FileId),
  Argument.variadic()
)
const wait = Flag.String("wait").pipe(
  Flag.withDescription("How long to see what becomes of them, such as 30s or 10m"),
  Flag.withDefault("10s")
)
const allParked = Flag.Boolean("all-parked").pipe(
  Flag.withDescription("Every file that is parked"),
  Flag.withDefault(false)
)
const releasedSince = Flag.String("released-since").pipe(
  Flag.withDescription("Every file that was released within so long, such as 7d, and waits for no rescan already"),
  Flag.optional
)

export const retry = Command.make(
  "retry",
  { json, named, wait, allParked },
  Effect.fn("holdfast.files.retry")(function* (options) {
    if (options.allParked === options.named.length > 0) return yield* refuse("Name files, or say --all-parked.")
    yield* again(retrying, options, everyParked)
  })
).pipe(Command.withDescription("Send parked files through the pipeline again"))

export const rescan = Command.make(
  "rescan",
  { json, named, wait, releasedSince },
  Effect.fn("holdfast.files.rescan")(function* (options) {
    if (Option.isSome(options.releasedSince) === options.named.length > 0) {
      return yield* refuse("Name files, or say --released-since 7d.")
    }
    const within = Option.getOrElse(options.releasedSince, () => "1s")
    const seconds = secondsOf(within)
    if (seconds === undefined) return yield* refuse(`${within} is not a length of time: say 12h or 7d.`)
    yield* again(rescanning, options, everyReleasedWithin(seconds))
  })
).pipe(Command.withDescription("Have released files looked at again"))

interface Kind {
  readonly name: string
  readonly command: (fileId: FileId) => typeof RetryFile.command.Type | typeof RescanFile.command.Type
  /** Null when it can be asked for; else why it cannot. */
  readonly refusal: (file: CataloguedFile["attachment"]) => string | null
  readonly isUnderWay: (file: CataloguedFile["attachment"]) => boolean
}

const retrying: Kind = {
  name: "retry",
  command: (fileId) => RetryFile.command.make({ fileId }),
  refusal: ({ parkedAt, state }) => (parkedAt === null ? `is ${state}, not parked` : null),
  isUnderWay: (file) => nextStage(file) !== null
}

const rescanning: Kind = {
  name: "rescan",
  command: (fileId) => RescanFile.command.make({ fileId }),
  refusal: ({ state }) => (state === "released" ? null : `is ${state}, not released`),
  isUnderWay: ({ isRescanPending, state }) => state === "released" && isRescanPending === true
}

const everyParked = (isJson: boolean) =>
  Effect.map(
    filesWhere(({ attachment }) => attachment.state === "parked", Number.POSITIVE_INFINITY, isJson),
    (files) => files.map(({ attachment }) => attachment.fileId)
  )

/** From the newest release on, until one is older. */
const everyReleasedWithin = (seconds: number) =>
  Effect.fnUntraced(function* () {
    const released = yield* ReleasedFiles
    const sinceMs = (yield* Clock.currentTimeMillis) - seconds * 1000
    const found: Array<FileId> = []
    for (let before = Position.make(Number.MAX_SAFE_INTEGER); ; ) {
      const page = yield* released.page(before, Limits.recheckedMax)
      const young = page.filter(({ releasedAtMs }) => releasedAtMs >= sinceMs)
      found.push(...young.filter(({ isIdle }) => isIdle).map(({ fileId }) => fileId))
      const last = page.at(-1)
      if (last === undefined || young.length < page.length) return found
      before = last.position
    }
  })

interface Options {
  readonly json: boolean
  readonly named: ReadonlyArray<FileId>
  readonly wait: string
}

interface Asked {
  readonly fileId: FileId
  /** Null when it was asked for. */
  readonly refused: string | null
}

const again = Effect.fnUntraced(function* (
  kind: Kind,
  options: Options,
  every: (isJson: boolean) => Effect.Effect<ReadonlyArray<FileId>, Unavailable, FileCatalog | ReleasedFiles>
) {
  const waitSeconds = secondsOf(options.wait)
  if (waitSeconds === undefined) return yield* refuse(`${options.wait} is not a length of time: say 30s or 10m.`)
  return yield* withFiles(() =>
    Effect.gen(function* () {
      const ids = options.named.length > 0 ? [...new Set(options.named)] : yield* every(options.json)
      if (ids.length === 0 && !options.json) return yield* Console.log("There is none.")
      const asked = yield* askAll(kind, ids, options.json)
      const became = yield* watch(kind, asked, waitSeconds)
      yield* Console.log(options.json ? JSON.stringify(became) : becameTable(became))
      const refused = became.filter((one) => one.refused !== null).length
      if (refused > 0) return yield* refuse(`${refused} of ${became.length} could not be asked for.`)
      const parked = became.filter(({ state }) => state === "parked").length
      if (parked > 0) return yield* refuse(`${parked} of ${became.length} are parked again.`)
    })
  )
})

const askAll = Effect.fnUntraced(function* (kind: Kind, ids: ReadonlyArray<FileId>, isJson: boolean) {
  const tell = makeProgress(isJson ? "nobody" : "people")
  const run = uuidV7Unsafe()
  const asked: Array<Asked> = []
  for (const fileId of ids) {
    const refused = yield* askOne(kind, fileId, run)
    asked.push({ fileId, refused })
    yield* tell(() => `${kind.name}: ${asked.length} of ${ids.length}`)
    if (asked.length < ids.length) yield* Effect.sleep(Duration.millis(1000 / Limits.commandsPerSecondMax))
  }
  return asked
})

/** As whom an operator acts who works on the desk's own machine. */
const operator: Principal = { id: PrincipalId.make("operator"), role: "admin" }

const askOne = Effect.fnUntraced(function* (kind: Kind, fileId: FileId, run: string) {
  const catalog = yield* FileCatalog
  const [file] = yield* catalog.find([fileId])
  if (file === undefined) return "is no file of this desk"
  const refusal = kind.refusal(file.attachment)
  return refusal ?? (yield* issued(kind, fileId, run))
})

/** Under one id for the whole run: whether it was done is learnt by asking again. */
const issued = Effect.fnUntraced(function* (kind: Kind, fileId: FileId, run: string) {
  const bus = yield* CommandBus
  const meta = { commandId: deriveCommandId(kind.name, run, fileId), correlationId: CorrelationId.make(uuidV7Unsafe()) }
  for (let attempt = 1; ; attempt++) {
    const outcome = yield* Effect.result(
      bus.execute({ principal: operator, meta, command: kind.command(fileId), causationId: Option.none() })
    )
    if (outcome._tag === "Success") return null
    const error = outcome.failure
    if (!("retryAfterMs" in error) || attempt >= Limits.commandAttemptsMax) return `was refused: ${error._tag}`
    yield* Effect.sleep(Duration.millis(error.retryAfterMs))
  }
})

interface Became extends Asked {
  readonly state: string | null
  /** What it waits for or is in; null when it is through. */
  readonly underWay: boolean
}

/** Until none is under way any more, or the time is over. */
const watch = Effect.fnUntraced(function* (kind: Kind, asked: ReadonlyArray<Asked>, seconds: number) {
  const catalog = yield* FileCatalog
  const untilMs = (yield* Clock.currentTimeMillis) + seconds * 1000
  const known = new Map<FileId, CataloguedFile["attachment"]>()
  for (;;) {
    const open = asked.filter(({ fileId, refused }) => {
      const file = known.get(fileId)
      return refused === null && (file === undefined || kind.isUnderWay(file))
    })
    for (let from = 0; from < open.length; from += Limits.recheckedMax) {
      const some = open.slice(from, from + Limits.recheckedMax).map(({ fileId }) => fileId)
      for (const { attachment } of yield* catalog.find(some)) known.set(attachment.fileId, attachment)
    }
    const isDone = ![...known.values()].some(kind.isUnderWay)
    if (isDone || (yield* Clock.currentTimeMillis) >= untilMs) break
    yield* Effect.sleep(Limits.watchInterval)
  }
  return asked.map(({ fileId, refused }): Became => {
    const file = known.get(fileId)
    return { fileId, refused, state: file?.state ?? null, underWay: file !== undefined && kind.isUnderWay(file) }
  })
})

export const becameTable = (became: ReadonlyArray<Became>): string =>
  table(
    ["file", "what became of it"],
    became.map(({ fileId, refused, state, underWay }) => [
      fileId,
      refused ?? (underWay ? `asked for; ${state} so far` : `asked for, and done: ${state}`)
    ])
  )
