// What the clients of a drill were told, for the audit that compares it with the truth. Kept in files that only grow, so that hours of load
// take little memory and the end of the drill itself loses nothing but the last moment; in memory are only the commands whose
// outcome nobody knows yet. Of several lines about one command or upload the last one counts.
import {
  appendFileSync,
  closeSync,
  createReadStream,
  existsSync,
  mkdirSync,
  openSync,
  rmSync,
  writeSync
} from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { DrillLoad } from "@holdfast/resilience/Limits"
import { Duration, Effect, Schema, type Scope } from "effect"

/** done: acknowledged. refused: told that nothing was done. declined: answered by a rule of the desk. unknown: nobody knows yet. */
export const tolds = ["done", "refused", "declined", "unknown"] as const
export type Told = (typeof tolds)[number]

export interface CommandTold {
  readonly commandId: string
  readonly kind: string
  readonly principalId: string
  readonly streamId: string
  readonly told: Told
  /** The stream's version as the answer said; 0 when it said none. */
  readonly version: number
}

export interface UploadTold {
  readonly fileId: string
  readonly sha256: string
  readonly sizeBytes: number
  readonly told: "accepted" | "unknown"
}

/** Whose eyes: staff see everything, a customer the public events of what they requested. */
const FeedTerms = Schema.Struct({
  number: Schema.Natural,
  /** Absent: every ticket. */
  ticketId: Schema.optionalKey(Schema.String),
  customerId: Schema.optionalKey(Schema.String),
  /** The subscription began after this position. */
  after: Schema.Natural
})
export type FeedTerms = typeof FeedTerms.Type
const decodeFeedTerms = Schema.decodeUnknownSync(FeedTerms)

export interface LedgerCounts {
  readonly acknowledged: number
  readonly refused: number
  readonly declined: number
  /** Told that the outcome is unknown, or not told anything. */
  readonly unknown: number
  /** Learnt by repeating: it had been done, or it was done now. */
  readonly resolved: number
  /** Of these, how many had been done already. */
  readonly hadBeenDone: number
  /** Nobody knows yet. */
  readonly unresolved: number
  readonly uploads: number
  readonly downloadsWrong: number
}

export interface Ledger {
  readonly folder: string
  command(told: CommandTold, replayed?: boolean): void
  upload(told: UploadTold): void
  feed(terms: FeedTerms): void
  position(feed: number, position: number): void
  downloadWrong(): void
  readonly counts: LedgerCounts
  flush(): void
}

const commandsFile = (folder: string) => join(folder, "commands.tsv")
const uploadsFile = (folder: string) => join(folder, "uploads.tsv")
const feedsFile = (folder: string) => join(folder, "feeds.jsonl")
const feedFile = (folder: string, number: number) => join(folder, `feed-${number}.tsv`)

/** Complete and closed when the scope ends. */
export const makeLedger = (folder: string): Effect.Effect<Ledger, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => openLedger(folder)),
      ({ close }) => Effect.sync(close)
    ),
    ({ ledger }) => ledger
  )

const openLedger = (folder: string) => {
  // A drill that is repeated must not answer for what the one before was told.
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const commands = growingFile(commandsFile(folder))
  const uploads = growingFile(uploadsFile(folder))
  const feeds = new Map<number, GrowingFile>()
  const files = () => [commands, uploads, ...feeds.values()]
  const flush = () => {
    for (const file of files()) file.flush()
  }
  const timer = setInterval(flush, Duration.toMillis(DrillLoad.ledgerDelay))
  const counting = makeCounts()
  const ledger: Ledger = {
    folder,
    command: (told, replayed = false) => {
      counting.command(told, replayed)
      commands.line(encodeCommand(told))
    },
    upload: (told) => {
      counting.upload(told)
      uploads.line([told.fileId, told.sha256, told.sizeBytes, told.told].join("\t"))
    },
    feed: (terms) => {
      appendFileSync(feedsFile(folder), `${JSON.stringify(terms)}\n`, { mode: 0o600 })
      feeds.set(terms.number, growingFile(feedFile(folder, terms.number)))
    },
    position: (feed, position) => feeds.get(feed)?.line(String(position)),
    downloadWrong: () => {
      counting.counts.downloadsWrong++
    },
    get counts() {
      return { ...counting.counts, unresolved: counting.unresolved.size }
    },
    flush
  }
  const close = () => {
    clearInterval(timer)
    for (const file of files()) file.close()
  }
  return { ledger, close }
}

const makeCounts = () => {
  const counts = {
    ...{ acknowledged: 0, refused: 0, declined: 0, unknown: 0, resolved: 0, hadBeenDone: 0 },
    ...{ uploads: 0, downloadsWrong: 0 }
  }
  const unresolved = new Set<string>()
  const command = ({ commandId, told }: CommandTold, replayed: boolean) => {
    const wasUnknown = unresolved.has(commandId)
    if (told === "unknown") {
      if (!wasUnknown) counts.unknown++
      unresolved.add(commandId)
      return
    }
    counts[told === "done" ? "acknowledged" : told]++
    if (!wasUnknown) return
    unresolved.delete(commandId)
    counts.resolved++
    if (replayed) counts.hadBeenDone++
  }
  const upload = ({ told }: UploadTold) => {
    if (told === "accepted") counts.uploads++
  }
  return { counts, unresolved, command, upload }
}

interface GrowingFile {
  line(text: string): void
  flush(): void
  close(): void
}

/** An answer that comes when a drill was broken off, after the close, is nobody's any more. */
const growingFile = (path: string): GrowingFile => {
  const fd = openSync(path, "a", 0o600)
  let waiting = ""
  let isOpen = true
  const flush = () => {
    if (waiting === "") return
    writeSync(fd, waiting)
    waiting = ""
  }
  return {
    line: (text) => {
      if (!isOpen) return
      waiting += `${text}\n`
      if (waiting.length >= DrillLoad.ledgerChunkLength) flush()
    },
    flush,
    close: () => {
      flush()
      isOpen = false
      closeSync(fd)
    }
  }
}

const encodeCommand = ({ commandId, kind, principalId, streamId, told, version }: CommandTold): string =>
  [commandId, kind, principalId, streamId, told, version].join("\t")

const isTold = (text: string): text is Told => tolds.some((one) => one === text)

/** `undefined` for a line that was cut when the drill ended. */
const decodeCommand = (line: string): CommandTold | undefined => {
  const [commandId = "", kind = "", principalId = "", streamId = "", told = "", version] = line.split("\t")
  if (version === undefined || version === "" || !isTold(told)) return undefined
  return { commandId, kind, principalId, streamId, told, version: Number(version) }
}

const decodeUpload = (line: string): UploadTold | undefined => {
  const [fileId = "", sha256 = "", sizeBytes, told] = line.split("\t")
  if (told !== "accepted" && told !== "unknown") return undefined
  return { fileId, sha256, sizeBytes: Number(sizeBytes), told }
}

async function* linesOf(path: string): AsyncGenerator<string> {
  if (!existsSync(path)) return
  yield* createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })
}

/** In the order of writing, so many at a time. */
async function* batchesOf<A>(path: string, decode: (line: string) => A | undefined): AsyncGenerator<ReadonlyArray<A>> {
  let batch: Array<A> = []
  for await (const line of linesOf(path)) {
    const entry = decode(line)
    if (entry === undefined) continue
    batch.push(entry)
    if (batch.length < DrillLoad.auditBatchMax) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

/** What a ledger's folder holds, also after the drill that wrote it is gone. */
export const readLedger = (folder: string) => ({
  commands: () => batchesOf(commandsFile(folder), decodeCommand),
  uploads: () => batchesOf(uploadsFile(folder), decodeUpload),
  feeds: async (): Promise<ReadonlyArray<FeedTerms>> => {
    const terms: Array<FeedTerms> = []
    for await (const line of linesOf(feedsFile(folder))) terms.push(decodeFeedTerms(JSON.parse(line)))
    return terms
  },
  positions: (feed: number) =>
    batchesOf(feedFile(folder, feed), (line) => (/^\d+$/.test(line) ? Number(line) : undefined))
})
export type LedgerReader = ReturnType<typeof readLedger>
