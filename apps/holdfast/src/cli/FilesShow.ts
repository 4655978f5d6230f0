// `holdfast files show <file>`: one file with its timeline, where its content lies, on which ticket it is and what was made of it. `show --state
// parked --older 10m` lists those that are in a state for so long. Looking changes nothing.
import { FileState } from "@holdfast/contracts/attachment/Stages"
import type { FileView } from "@holdfast/contracts/attachment/Views"
import { FileId, type Sha256, StreamId, StreamVersion, type TicketId } from "@holdfast/contracts/Ids"
import { EventLog } from "@holdfast/database/EventLog"
import { type CataloguedFile, FileCatalog } from "@holdfast/database/FileCatalog"
import { ReleasedFiles } from "@holdfast/database/ReleasedFiles"
import { nextStage } from "@holdfast/domain/attachment/Attachment"
import { applyFile } from "@holdfast/domain/attachment/FileView"
import { JournalView } from "@holdfast/files/JournalView"
import { type BlobStore, Quarantine, Released } from "@holdfast/storage/BlobStore"
import { Clock, Console, DateTime, Effect, Option, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { refuse } from "../Refusal.ts"
import { table } from "../Table.ts"
import { withFiles } from "./FilesServices.ts"
import { secondsOf } from "./Lifetime.ts"
import { makeProgress } from "./Progress.ts"
import { json } from "./Up.ts"

const fileId = Argument.String("file").pipe(
  Argument.withDescription("The id of a file, as in its links"),
  Argument.withSchema(FileId),
  Argument.optional
)
const state = Flag.Literals("state", ["waiting", ...FileState.literals]).pipe(
  Flag.withDescription("List the files in this state; waiting: for any stage of the pipeline"),
  Flag.optional
)
const older = Flag.String("older").pipe(
  Flag.withDescription("Only those that are in it for longer, such as 10m or 7d"),
  Flag.optional
)
const limit = Flag.Int("limit").pipe(Flag.withDescription("List at most so many"), Flag.withDefault(200))

export const show = Command.make(
  "show",
  { json, fileId, state, older, limit },
  Effect.fn("holdfast.files.show")(function* (options) {
    const asked = Option.all([options.fileId, options.state])
    if (Option.isSome(asked)) return yield* refuse("Name a file, or a state whose files are listed, not both.")
    if (Option.isSome(options.fileId)) return yield* showOne(options.fileId.value, options.json)
    if (Option.isNone(options.state)) return yield* refuse("Name a file, or say --state parked.")
    return yield* list(options.state.value, options)
  })
).pipe(Command.withDescription("Show a file and its timeline, or list the files in a state"))

/** Where some content of a file lies. */
interface Whereabouts {
  readonly what: string
  readonly mediaType: string
  readonly sizeBytes: number
  readonly sha256: Sha256
  readonly isQuarantined: boolean
  readonly isReleased: boolean
}

const showOne = (id: FileId, isJson: boolean) =>
  withFiles(() =>
    Effect.gen(function* () {
      const view = yield* viewOf(id)
      if (view === null) return yield* notRegistered(id)
      const contents = yield* Effect.forEach(contentsOf(view), find)
      const ticketIds = yield* ticketsOf(view)
      const facts = { ...encoded(view), contents, ticketIds }
      yield* Console.log(isJson ? JSON.stringify(facts) : fileText(view, contents, ticketIds))
    })
  )

const viewOf = Effect.fnUntraced(function* (id: FileId) {
  const log = yield* EventLog
  const history = yield* log.readStream(StreamId.make(id), StreamVersion.make(0))
  return history.reduce<FileView | null>(applyFile, null)
})

/** Those that it was uploaded for or attached to. */
const ticketsOf = Effect.fnUntraced(function* ({ id, ticketId }: FileView) {
  const attachments = yield* ReleasedFiles.use((released) => released.attachments(id))
  return [...new Set([...(ticketId === null ? [] : [ticketId]), ...attachments.map((one) => one.ticketId)])]
})

const notRegistered = Effect.fnUntraced(function* (id: FileId) {
  const journal = yield* JournalView
  if ((yield* journal.look(id)) !== "gone") {
    return yield* refuse(`${id} is uploaded and waits in the journal: it is registered when the file worker runs.`)
  }
  if ((yield* journal.aside).includes(id)) {
    return yield* refuse(`${id} is uploaded, and the core has refused it: its entry lies in files/journal/aside.`)
  }
  return yield* refuse(`There is no file ${id}: it was never completed, or it is on another machine's journal.`)
})

const encoded = (view: FileView) => ({
  ...view,
  receivedAt: DateTime.formatIso(view.receivedAt),
  updatedAt: DateTime.formatIso(view.updatedAt),
  timeline: view.timeline.map((line) => ({ ...line, at: DateTime.formatIso(line.at) }))
})

const contentsOf = (view: FileView) => {
  const { declaredType, derivatives, mediaType, sha256, sizeBytes } = view
  return [
    { what: "uploaded", mediaType: mediaType ?? declaredType, sizeBytes, sha256 },
    ...derivatives.map((made) => ({ ...made, what: made.kind === "original" ? "clean copy" : made.kind }))
  ]
}

const find = Effect.fnUntraced(function* ({
  mediaType,
  sha256,
  sizeBytes,
  what
}: ReturnType<typeof contentsOf>[number]) {
  const isIn = (store: BlobStore) =>
    store.sizeBytes(sha256).pipe(
      Effect.as(true),
      Effect.catchTag("BlobNotFound", () => Effect.succeed(false))
    )
  const isQuarantined = yield* isIn(yield* Quarantine)
  const isReleased = yield* isIn(yield* Released)
  const found: Whereabouts = { what, mediaType, sizeBytes, sha256, isQuarantined, isReleased }
  return found
})

const wordsOf = ({ isQuarantined, isReleased }: Whereabouts): string =>
  [...(isReleased ? ["released"] : []), ...(isQuarantined ? ["quarantine"] : [])].join(", ") || "nowhere"

const fileText = (view: FileView, contents: ReadonlyArray<Whereabouts>, ticketIds: ReadonlyArray<TicketId>): string => {
  const rejection = view.rejection === null ? "" : `: ${view.rejection.reason}, ${view.rejection.detail}`
  const facts = [
    `${view.name}  ${view.id}`,
    `${view.state}${rejection}, since ${DateTime.formatIso(view.updatedAt)}`,
    `from ${view.ownerId}, received ${DateTime.formatIso(view.receivedAt)}, declared as ${view.declaredType}`,
    ticketIds.length === 0 ? "on no ticket" : `on ticket ${ticketIds.join(", ")}`
  ]
  const lies = contents.map((one) => [one.what, one.mediaType, String(one.sizeBytes), wordsOf(one), one.sha256])
  const lines = view.timeline.map(({ at, detail, durationMs, outcome, stage, tool }) => [
    ...[DateTime.formatIso(at), stage, outcome, durationMs === null ? "" : `${durationMs} ms`],
    ...[tool === null ? "" : `${tool.name} ${tool.version}`, tool?.signatureVersion ?? "", detail ?? ""]
  ])
  return [
    facts.join("\n"),
    table(["content", "type", "bytes", "lies in", "sha256"], lies),
    table(["at", "stage", "outcome", "took", "tool", "signatures", "detail"], lines)
  ].join("\n\n")
}

const waitingStates: ReadonlySet<string> = new Set(["received", "identified", "scanned", "converted"])

interface ListOptions {
  readonly json: boolean
  readonly older: Option.Option<string>
  readonly limit: number
}

const list = (wanted: string, options: ListOptions) =>
  withFiles(() =>
    Effect.gen(function* () {
      const olderSeconds = yield* lengthOf(options.older)
      const beforeMs = (yield* Clock.currentTimeMillis) - olderSeconds * 1000
      const isWanted = ({ attachment, changedAtMs }: CataloguedFile) =>
        (attachment.state === wanted || (wanted === "waiting" && waitingStates.has(attachment.state))) &&
        changedAtMs <= beforeMs
      const found = yield* filesWhere(isWanted, options.limit, options.json)
      if (options.json) return yield* Console.log(JSON.stringify(found.map(listed)))
      if (found.length === 0) return yield* Console.log("There is none.")
      yield* Console.log(listTable(found))
      if (found.length === options.limit) yield* Console.log(`\nThere may be more than ${options.limit}: say --limit.`)
    })
  )

const lengthOf = (text: Option.Option<string>) => {
  if (Option.isNone(text)) return Effect.succeed(0)
  const seconds = secondsOf(text.value)
  return seconds === undefined
    ? Effect.fail(refuse(`${text.value} is not a length of time: say 10m, 12h or 7d.`))
    : Effect.succeed(seconds)
}

/** The first so many of them, in the order of their upload. */
export const filesWhere = Effect.fnUntraced(function* (
  isWanted: (file: CataloguedFile) => boolean,
  countMax: number,
  isJson: boolean
) {
  const catalog = yield* FileCatalog
  const tell = makeProgress(isJson ? "nobody" : "people")
  let lookedAt = 0
  return yield* catalog.pages.pipe(
    Stream.tap((page) => {
      lookedAt += page.lookedAt
      return tell(() => `looked through ${lookedAt}`)
    }),
    Stream.flatMap(({ files }) => Stream.fromIterable(files.filter(isWanted))),
    Stream.take(countMax),
    Stream.runCollect
  )
})

const listed = ({ attachment, changedAtMs }: CataloguedFile) => ({
  id: attachment.fileId,
  state: attachment.state,
  stage: attachment.parkedAt ?? nextStage(attachment),
  since: new Date(changedAtMs).toISOString(),
  sizeBytes: attachment.sizeBytes,
  mediaType: attachment.mediaType ?? attachment.declaredType,
  ownerId: attachment.ownerId
})

export const listTable = (files: ReadonlyArray<CataloguedFile>): string =>
  table(
    ["file", "state", "stage", "since", "bytes", "type", "from"],
    files
      .map(listed)
      .map(({ id, mediaType, ownerId, since, sizeBytes, stage, state: inState }) => [
        ...[id, inState, stage ?? "", since, String(sizeBytes), mediaType, ownerId]
      ])
  )
