// Compares what is stored with what the core knows, both ways, beside a desk that goes on working. First what files need is gathered: of uploads that
// were acknowledged, then of the journal, then of the core, in the order in which an upload moves, so that none is missed on its way. Then each
// of 256 parts of both stores is listed and compared. Whatever seems wrong is asked about once more before it is told, as the desk may have
// gone on meanwhile. It changes nothing; what a repair removes is old content that no file needs, in the sweep's own way and by its own rules,
// and it kills the links of withdrawn files, should a store that was put back from a copy have forgotten them.
import { access } from "node:fs/promises"
import { join } from "node:path"
import type { FileId, Sha256 } from "@holdfast/contracts/Ids"
import { FileCatalog } from "@holdfast/database/FileCatalog"
import { FileCommands as Limits, Storage } from "@holdfast/resilience/Limits"
import type { Unavailable } from "@holdfast/resilience/Unavailable"
import { Quarantine, Released, Withdrawn } from "@holdfast/storage/BlobStore"
import { Inventory } from "@holdfast/storage/Inventory"
import { Duration, Effect, Stream } from "effect"
import { JournalView } from "../JournalView.ts"
import { UploadRecords } from "../UploadRecords.ts"
import { type Need, needOf, needsOf, type Place } from "./Needs.ts"
import { NeedsByHash } from "./NeedsByHash.ts"

interface Lacking {
  readonly place: Place
  readonly sha256: Sha256
  readonly sizeBytes: number
  readonly fileId: FileId
  readonly state: string
}

export type Finding =
  /** Content that a file needs is not there, has another size, or other bytes. */
  | ({ readonly kind: "missing" } & Lacking)
  | ({ readonly kind: "size"; readonly storedBytes: number } & Lacking)
  | ({ readonly kind: "damaged" } & Lacking)
  /** A waiting file's content is not in this machine's quarantine; another one may have it. */
  | ({ readonly kind: "elsewhere" } & Lacking)
  /** An upload that was acknowledged, and neither the journal nor the core knows of it. */
  | { readonly kind: "lost"; readonly fileId: FileId }
  /** A file was withdrawn and its links still give it: the mark that kills them is not in the released store. A repair sets it. */
  | { readonly kind: "alive"; readonly fileId: FileId }
  /** A journal entry that the core refused, or that cannot be read, and somebody has to look at. */
  | { readonly kind: "aside" | "unreadable"; readonly fileId: FileId }
  /** A journal entry that the core has not heard of for long. */
  | { readonly kind: "late"; readonly fileId: FileId; readonly ageMs: number }
  /** Content that no file needs, older than the sweep lets it be. */
  | {
      readonly kind: "orphan"
      readonly place: Place
      readonly sha256: Sha256
      readonly sizeBytes: number
      readonly ageMs: number
    }

export interface Progress {
  readonly phase: "files" | "contents"
  readonly done: number
  /** About so many. */
  readonly of: number
  /** Up to here all parts are compared; null before the first is. */
  readonly part: string | null
}

export interface VerifyOptions {
  /** Reads and hashes all content that is needed. */
  readonly isDeep: boolean
  /** Removes old content that no file needs, and kills the links of files that were withdrawn. */
  readonly isRepairing: boolean
  /** Released content is in object storage, so other machines may have quarantines of their own. */
  readonly hasOtherMachines: boolean
  /** Which of the 256 parts of the stores are compared, such as those that an earlier run has not come to. */
  readonly parts: ReadonlyArray<string>
  readonly uploadsFolder: string
  /** Room for the needs of all files, some 120 bytes each. */
  readonly workFolder: string
  readonly tell: (finding: Finding) => Effect.Effect<void>
  readonly progress: (progress: Progress) => Effect.Effect<void>
}

export interface Verified {
  files: number
  journalEntries: number
  /** In both stores. */
  contents: number
  contentBytes: number
  hashedBytes: number
  /** Not needed, and young enough to be kept. */
  keptForNow: number
  damage: number
  notes: number
  orphans: number
  orphanBytes: number
  removed: number
  /** Files whose links were killed by a repair. */
  killed: number
}

const nothing = (): Verified => ({
  ...{ files: 0, journalEntries: 0, contents: 0, contentBytes: 0, hashedBytes: 0, keptForNow: 0 },
  ...{ damage: 0, notes: 0, orphans: 0, orphanBytes: 0, removed: 0, killed: 0 }
})

interface Run extends VerifyOptions {
  readonly found: Verified
  readonly report: (finding: Finding) => Effect.Effect<void>
}

export const verify = Effect.fn("Verify.run")(
  function* (options: VerifyOptions) {
    const found = nothing()
    const report = (finding: Finding) => Effect.andThen(count(found, finding, options), options.tell(finding))
    const run: Run = { ...options, found, report }
    const needs = yield* NeedsByHash.make(options.workFolder)
    const unmarked = yield* gather(run, needs)
    yield* compareAll(run, needs)
    yield* Effect.forEach(unmarked, (fileId) => tellAlive(run, fileId), { discard: true })
    return found
  },
  (effect) => Effect.scoped(effect)
)

const count = (found: Verified, finding: Finding, { isRepairing }: VerifyOptions) =>
  Effect.sync(() => {
    if (finding.kind === "alive" && isRepairing) found.killed++
    else if (finding.kind === "orphan") {
      found.orphans++
      found.orphanBytes += finding.sizeBytes
    } else if (finding.kind === "elsewhere" || finding.kind === "late") found.notes++
    else found.damage++
  })

/** What is read first has moved on, if at all, to what is read later. */
const gather = Effect.fnUntraced(function* (run: Run, needs: NeedsByHash) {
  const acknowledged = yield* Effect.promise(() => doneUploads(run.uploadsFolder))
  const unregistered = yield* gatherJournal(run, needs, acknowledged)
  const unmarked = yield* gatherFiles(run, needs, acknowledged, unregistered)
  yield* inBatches([...acknowledged], (ids) => known(ids, (fileId) => run.report({ kind: "lost", fileId })))
  yield* inBatches([...unregistered.keys()], (ids) => known(ids, (fileId) => tellLate(run, fileId)))
  return unmarked
})

/** Uploads that the client was told are complete; their descriptions are kept for a day. */
const doneUploads = async (folder: string): Promise<Set<FileId>> => {
  const records = new UploadRecords(folder)
  const done = new Set<FileId>()
  for (const id of await records.list()) {
    const isDone = await access(join(folder, `${id}.done`)).then(
      () => true,
      () => false
    )
    if (isDone && (await records.get(id))?.part === undefined) done.add(id)
  }
  return done
}

const gatherJournal = Effect.fnUntraced(function* (run: Run, needs: NeedsByHash, acknowledged: Set<FileId>) {
  const journal = yield* JournalView
  const unregistered = new Set<FileId>()
  for (const fileId of yield* journal.list) {
    const entry = yield* journal.look(fileId)
    if (entry === "gone") continue
    acknowledged.delete(fileId)
    run.found.journalEntries++
    if (entry === "unreadable") {
      yield* run.report({ kind: "unreadable", fileId })
      continue
    }
    unregistered.add(fileId)
    yield* Effect.promise(() => needs.add([needOf(entry)]))
  }
  // After the others: an entry may be set aside at this very moment.
  for (const fileId of yield* journal.aside) {
    acknowledged.delete(fileId)
    yield* run.report({ kind: "aside", fileId })
  }
  return unregistered
})

const gatherFiles = Effect.fnUntraced(function* (
  run: Run,
  needs: NeedsByHash,
  acknowledged: Set<FileId>,
  unregistered: Set<FileId>
) {
  const catalog = yield* FileCatalog
  const of = yield* catalog.estimate
  const withdrawn = yield* Withdrawn
  const unmarked: Array<FileId> = []
  let done = 0
  yield* Stream.runForEach(catalog.pages, ({ files, lookedAt }) =>
    Effect.gen(function* () {
      for (const { attachment } of files) {
        if (attachment.state !== "withdrawn" || (yield* withdrawn.has(attachment.fileId))) continue
        unmarked.push(attachment.fileId)
      }
      for (const { attachment } of files) {
        for (const waiting of [acknowledged, unregistered]) waiting.delete(attachment.fileId)
      }
      yield* Effect.promise(() => needs.add(files.flatMap(({ attachment }) => needsOf(attachment))))
      run.found.files += files.length
      done += lookedAt
      yield* run.progress({ phase: "files", done, of: Math.max(of, done), part: null })
    })
  )
  return unmarked
})

const inBatches = <A, E, R>(all: ReadonlyArray<A>, use: (batch: ReadonlyArray<A>) => Effect.Effect<void, E, R>) =>
  Effect.forEach(
    Array.from({ length: Math.ceil(all.length / Limits.recheckedMax) }, (_, batch) =>
      all.slice(batch * Limits.recheckedMax, (batch + 1) * Limits.recheckedMax)
    ),
    use,
    { discard: true }
  )

/** Tells of those that the core does not know, also when it is asked now. */
const known = Effect.fnUntraced(function* (
  ids: ReadonlyArray<FileId>,
  tell: (fileId: FileId) => Effect.Effect<void, Unavailable, JournalView>
) {
  const catalog = yield* FileCatalog
  const there = new Set((yield* catalog.find(ids)).map(({ attachment }) => attachment.fileId))
  for (const fileId of ids) if (!there.has(fileId)) yield* tell(fileId)
})

const tellLate = Effect.fnUntraced(function* (run: Run, fileId: FileId) {
  const journal = yield* JournalView
  const ageMs = yield* journal.ageMs(fileId)
  if (ageMs !== null && ageMs > Duration.toMillis(Limits.journalEntryLateAfter)) {
    yield* run.report({ kind: "late", fileId, ageMs })
  }
})

/** A file is withdrawn first and marked then, so by now it is marked, if it ever will be. */
const tellAlive = Effect.fnUntraced(function* (run: Run, fileId: FileId) {
  const withdrawn = yield* Withdrawn
  if (yield* withdrawn.has(fileId)) return
  if (run.isRepairing) yield* withdrawn.add(fileId)
  yield* run.report({ kind: "alive", fileId })
})

/** Several at once, as most of it is waiting for the store. */
const compareAll = (run: Run, needs: NeedsByHash) => {
  const under = new Set(run.parts)
  return Effect.forEach(
    run.parts,
    Effect.fnUntraced(function* (digits) {
      yield* compare(run, needs, digits)
      under.delete(digits)
      const next = run.parts.findIndex((part) => under.has(part))
      const part = run.parts[(next === -1 ? run.parts.length : next) - 1] ?? null
      yield* run.progress({ phase: "contents", done: run.parts.length - under.size, of: run.parts.length, part })
    }),
    { concurrency: Limits.partsAtOnceMax, discard: true }
  )
}

const compare = Effect.fnUntraced(function* (run: Run, needs: NeedsByHash, digits: string) {
  const part = yield* Effect.promise(() => needs.part(digits))
  const inventory = yield* Inventory
  const orphans =
    (yield* compareStore(run, "quarantine", part.quarantine, inventory.quarantined(digits))) +
    (yield* compareStore(run, "released", part.released, inventory.released(digits)))
  // Added only then: other parts are compared at the same time.
  const removed = run.isRepairing && orphans > 0 ? yield* inventory.sweep(digits) : 0
  run.found.removed += removed
})

type Needed = ReadonlyMap<Sha256, ReadonlyArray<Need>>
type Listing = ReturnType<Inventory["Service"]["released"]>

/** How many of its contents no file needs any more, and for long. */
const compareStore = Effect.fnUntraced(function* (run: Run, place: Place, needed: Needed, listing: Listing) {
  const unseen = new Set(needed.keys())
  const sized: Array<Sha256> = []
  let orphans = 0
  yield* Stream.runForEach(listing, (page) =>
    Effect.forEach(
      page,
      Effect.fnUntraced(function* ({ ageMs, sha256, sizeBytes }) {
        run.found.contents++
        run.found.contentBytes += sizeBytes
        unseen.delete(sha256)
        const [need] = needed.get(sha256) ?? []
        if (need === undefined && ageMs < lifetimeMs[place]) {
          run.found.keptForNow++
        } else if (need === undefined) {
          orphans++
          yield* run.report({ kind: "orphan", place, sha256, sizeBytes, ageMs })
        } else if (need.sizeBytes === sizeBytes) sized.push(sha256)
        else yield* run.report({ kind: "size", storedBytes: sizeBytes, ...need })
      }),
      { discard: true }
    )
  )
  const missing = [...unseen].flatMap((sha256) => needed.get(sha256) ?? [])
  yield* inBatches(missing, (batch) => tellMissing(run, batch))
  if (run.isDeep) for (const sha256 of sized) yield* hashed(run, needed.get(sha256) ?? [])
  return orphans
})

const lifetimeMs = {
  quarantine: Duration.toMillis(Storage.quarantineLifetime),
  released: Duration.toMillis(Storage.unneededLifetime)
}

const storeOf = (place: Place) => (place === "quarantine" ? Quarantine : Released)

/** Only what is still needed there, and still not there. */
const tellMissing = Effect.fnUntraced(function* (run: Run, lacking: ReadonlyArray<Need>) {
  const current = yield* stillNeeded(lacking)
  for (const need of lacking) {
    if (!current.has(keyOf(need))) continue
    const store = yield* storeOf(need.place)
    const isThere = yield* store.sizeBytes(need.sha256).pipe(
      Effect.as(true),
      Effect.catchTag("BlobNotFound", () => Effect.succeed(false))
    )
    if (isThere) continue
    const isElsewhere = run.hasOtherMachines && need.place === "quarantine" && need.state !== "journal"
    yield* run.report({ kind: isElsewhere ? "elsewhere" : "missing", ...need })
  }
})

const keyOf = ({ fileId, place, sha256 }: Need) => `${fileId} ${place} ${sha256}`

const stillNeeded = Effect.fnUntraced(function* (lacking: ReadonlyArray<Need>) {
  const catalog = yield* FileCatalog
  const journal = yield* JournalView
  const current = new Set<string>()
  for (const need of lacking) {
    if (need.state !== "journal") continue
    if ((yield* journal.look(need.fileId)) !== "gone") current.add(keyOf(need))
  }
  for (const { attachment } of yield* catalog.find(lacking.map(({ fileId }) => fileId))) {
    for (const need of needsOf(attachment)) current.add(keyOf(need))
  }
  return current
})

/** Reads all of it; the store itself compares its hash. */
const hashed = Effect.fnUntraced(function* (run: Run, needs: ReadonlyArray<Need>) {
  const [need] = needs
  if (need === undefined) return
  const store = yield* storeOf(need.place)
  const bytes = yield* Stream.runFold(
    store.read(need.sha256),
    () => 0,
    (sum, chunk) => sum + chunk.length
  ).pipe(
    Effect.catchTags({
      BlobNotFound: () => Effect.as(tellMissing(run, needs), 0),
      BlobCorrupt: () => Effect.as(run.report({ kind: "damaged", ...need }), 0)
    })
  )
  run.found.hashedBytes += bytes
})
