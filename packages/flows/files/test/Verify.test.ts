// Storage and core are compared both ways, on a disk and on object storage: whatever is lacking, damaged, lost or left over is named, nothing else is,
// and nothing is changed but what a repair may remove.
import { randomUUIDv7 } from "node:crypto"
import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { CorrelationId, FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { FileCatalog } from "@holdfast/database/FileCatalog"
import type { Attachment } from "@holdfast/domain/attachment/Attachment"
import { Health } from "@holdfast/resilience/Health"
import { FileCommands } from "@holdfast/resilience/Limits"
import { Quarantine, References, Released, Withdrawn } from "@holdfast/storage/BlobStore"
import * as BlobStoreDisk from "@holdfast/storage/BlobStoreDisk"
import * as BlobStoreS3 from "@holdfast/storage/BlobStoreS3"
import * as DiskSweep from "@holdfast/storage/DiskSweep"
import { uuid } from "@holdfast/testkit/History"
import { Effect, Layer, Schema, Stream } from "effect"
import { startS3Server } from "../../../adapters/storage/test/S3Server.ts"
import { Journal, type JournalEntry, layer as journalLayer } from "../src/Journal.ts"
import * as JournalView from "../src/JournalView.ts"
import type { Need } from "../src/verify/Needs.ts"
import { needsOf } from "../src/verify/Needs.ts"
import { allParts, NeedsByHash } from "../src/verify/NeedsByHash.ts"
import { type Finding, verify } from "../src/verify/Verify.ts"
import { sha256Of } from "./UploadWorld.ts"

const newId = () => FileId.make(randomUUIDv7())
const day = 86_400_000

/** Where the contents of these tests are; looking at all 256 parts is one test's. */
const usedParts: Array<string> = []
const text = (name: string) => {
  const bytes = Buffer.from(`content ${name}`)
  const part = sha256Of(bytes).slice(0, 2)
  if (!usedParts.includes(part)) usedParts.push(part)
  return bytes
}

class Store {
  readonly root = mkdtempSync(join(tmpdir(), "holdfast-verify-"))
  readonly files = new Map<FileId, Attachment>()
  /** As the core tells them while all are gathered, where that is another state than now. */
  readonly before = new Map<FileId, Attachment>()
  readonly removed = Effect.sync(() => rmSync(this.root, { recursive: true, force: true }))

  constructor() {
    for (const name of ["uploads", "work"]) mkdirSync(join(this.root, name))
  }

  get catalog() {
    const told = (all: Iterable<Attachment>) => [...all].map((attachment) => ({ attachment, changedAtMs: 0 }))
    return Layer.mock(FileCatalog)({
      pages: Stream.suspend(() => {
        const all = told(new Map([...this.files, ...this.before]).values())
        return Stream.make({ files: all.slice(0, 2), lookedAt: 2 }, { files: all.slice(2), lookedAt: all.length })
      }),
      find: (ids) => Effect.sync(() => told(ids.flatMap((id) => this.files.get(id) ?? []))),
      estimate: Effect.succeed(0)
    })
  }

  get references() {
    const neededAt = (place: Need["place"]) => (keys: ReadonlyArray<Sha256>) =>
      Effect.sync(() => {
        const needs = [...this.files.values()].flatMap(needsOf).filter((need) => need.place === place)
        const needed = new Set(needs.map(({ sha256 }) => sha256))
        return new Set(keys.filter((key) => needed.has(key)))
      })
    return Layer.succeed(References, { quarantined: neededAt("quarantine"), released: neededAt("released") })
  }

  path(place: Need["place"], sha256: Sha256) {
    return join(this.root, place, sha256.slice(0, 2), sha256)
  }

  /** So many days ago. */
  age(path: string, days: number) {
    const at = new Date(Date.now() - days * day)
    utimesSync(path, at, at)
  }

  services(released = BlobStoreDisk.layerReleased({ root: join(this.root, "released"), freeBytesMin: 0 })) {
    const quarantine = { root: join(this.root, "quarantine"), freeBytesMin: 0 }
    const journal = join(this.root, "journal")
    return Layer.mergeAll(
      this.catalog,
      journalLayer(journal),
      JournalView.layer(journal),
      BlobStoreDisk.layerQuarantine(quarantine),
      Layer.provide(DiskSweep.layerInventory(quarantine), this.references)
    ).pipe(Layer.provideMerge(released), Layer.provide(Health.layer))
  }

  add(state: Attachment["state"], bytes: Buffer, made: ReadonlyArray<Buffer> = []): Attachment {
    const derivatives = made.map((content) => ({
      ...({ kind: "thumbnail", mediaType: "image/webp" } as const),
      ...{ sha256: sha256Of(content), sizeBytes: content.length }
    }))
    const attachment: Attachment = {
      ...{ fileId: newId(), ownerId: PrincipalId.make("ada"), sha256: sha256Of(bytes), sizeBytes: bytes.length },
      ...{ declaredType: "text/plain", mediaType: "text/plain", derivatives, state, parkedAt: null }
    }
    this.files.set(attachment.fileId, attachment)
    return attachment
  }
}

const put = Effect.fnUntraced(function* (place: Need["place"], bytes: Buffer) {
  const store = yield* place === "quarantine" ? Quarantine : Released
  yield* store.put(sha256Of(bytes), Stream.make(bytes))
})

const run = Effect.fnUntraced(function* (
  store: Store,
  { hasOtherMachines = false, isDeep = false, isRepairing = false, parts = usedParts } = {}
) {
  const findings: Array<Finding> = []
  const found = yield* verify({
    ...{ isDeep, isRepairing, hasOtherMachines, parts },
    ...{ uploadsFolder: join(store.root, "uploads"), workFolder: join(store.root, "work") },
    tell: (finding) => Effect.sync(() => void findings.push(finding)),
    progress: () => Effect.void
  })
  expect(readdirSync(join(store.root, "work"))).toEqual([])
  return { found, findings, told: findings.map(({ kind }) => kind).sort() }
})

const withStore = <A, E>(body: (store: Store) => Effect.Effect<A, E, Layer.Success<ReturnType<Store["services"]>>>) =>
  Effect.gen(function* () {
    const store = yield* Effect.acquireRelease(
      Effect.sync(() => new Store()),
      ({ removed }) => removed
    )
    return yield* Effect.provide(body(store), store.services())
  })

const entryOf = ({ declaredType, fileId, ownerId, sha256, sizeBytes }: Attachment): JournalEntry => ({
  file: { fileId, name: "a.txt", sizeBytes, sha256, declaredType, ownerId },
  correlationId: CorrelationId.make(uuid(1)),
  traceparent: null
})

describe("verify", () => {
  it.live("finds nothing where all is well, and says what it looked at", () =>
    withStore((store) =>
      Effect.gen(function* () {
        store.add("released", text("given"), [text("thumbnail")])
        for (const name of ["given", "thumbnail"]) yield* put("released", text(name))
        yield* put("quarantine", text("given"))
        store.add("parked", text("waits"), [text("made")])
        for (const name of ["waits", "made"]) yield* put("quarantine", text(name))
        store.add("rejected", text("bad"))
        const late = store.add("received", text("just uploaded"))
        store.files.delete(late.fileId)
        yield* (yield* Journal).write(entryOf(late))
        yield* put("quarantine", text("just uploaded"))
        const { findings, found } = yield* run(store, { isDeep: true, parts: [...allParts] })
        expect(findings).toEqual([])
        expect(found).toMatchObject({ files: 3, journalEntries: 1, contents: 6, keptForNow: 1, orphans: 0, damage: 0 })
        const hashedBytes = ["given", "thumbnail", "waits", "made", "just uploaded"].map((name) => text(name).length)
        expect(found.hashedBytes).toBe(hashedBytes.reduce((sum, bytes) => sum + bytes, 0))
      })
    )
  )

  it.live("names content that is gone or has another size, wherever it is needed", () =>
    withStore((store) =>
      Effect.gen(function* () {
        const given = store.add("released", text("given"), [text("thumbnail")])
        yield* put("released", text("thumbnail"))
        truncateSync(store.path("released", sha256Of(text("thumbnail"))), 3)
        const waiting = store.add("scanned", text("waits"))
        const journalled = store.add("received", text("just uploaded"))
        store.files.delete(journalled.fileId)
        yield* (yield* Journal).write(entryOf(journalled))
        const { findings } = yield* run(store)
        expect(new Set(findings)).toEqual(
          new Set([
            { kind: "missing", place: "released", state: "released", ...contentOf(given) },
            {
              ...{ kind: "size", place: "released", state: "released", ...contentOf(given), storedBytes: 3 },
              ...{ sha256: sha256Of(text("thumbnail")), sizeBytes: text("thumbnail").length }
            },
            { kind: "missing", place: "quarantine", state: "scanned", ...contentOf(waiting) },
            { kind: "missing", place: "quarantine", state: "journal", ...contentOf(journalled) }
          ])
        )
        const { told } = yield* run(store, { hasOtherMachines: true })
        expect(told).toEqual(["elsewhere", "missing", "missing", "size"])
      })
    )
  )

  it.live(
    "finds withdrawn files whose links are alive, on a disk and on object storage, and kills them in a repair",
    () =>
      Effect.gen(function* () {
        const server = yield* startS3Server()
        for (const released of [undefined, BlobStoreS3.layerReleased(server.options)]) {
          const store = new Store()
          yield* Effect.gen(function* () {
            const [marked, unmarked] = [store.add("withdrawn", text("bad")), store.add("withdrawn", text("worse"))]
            const withdrawn = yield* Withdrawn
            yield* withdrawn.add(marked.fileId)
            const { findings, found } = yield* run(store)
            expect(findings).toEqual([{ kind: "alive", fileId: unmarked.fileId }])
            expect(found).toMatchObject({ damage: 1, killed: 0 })
            expect(yield* withdrawn.has(unmarked.fileId)).toBe(false)
            expect((yield* run(store, { isRepairing: true })).found).toMatchObject({ damage: 0, killed: 1 })
            expect(yield* withdrawn.has(unmarked.fileId)).toBe(true)
            expect((yield* run(store)).findings).toEqual([])
          }).pipe(Effect.provide(store.services(released)), Effect.ensuring(store.removed))
        }
      })
  )

  it.live("finds damaged bytes only when it reads them", () =>
    withStore((store) =>
      Effect.gen(function* () {
        const file = store.add("released", text("given"))
        yield* put("released", text("given"))
        writeFileSync(store.path("released", file.sha256), Buffer.alloc(file.sizeBytes, "x"))
        expect((yield* run(store)).told).toEqual([])
        const { findings, found } = yield* run(store, { isDeep: true })
        expect(findings).toEqual([{ kind: "damaged", place: "released", state: "released", ...contentOf(file) }])
        expect(found.damage).toBe(1)
      })
    )
  )

  it.live("names uploads that were acknowledged and that nobody knows of", () =>
    withStore((store) =>
      Effect.gen(function* () {
        const journal = yield* Journal
        const uploads = join(store.root, "uploads")
        const upload = (id: FileId, isDone: boolean, part = {}) => {
          const record = { id, size: 1, metadata: {}, creation_date: "2026-01-05", ...part }
          writeFileSync(join(uploads, `${id}.json`), JSON.stringify(record))
          writeFileSync(join(uploads, isDone ? `${id}.done` : id), "x")
        }
        const [lost, unfinished, part, registered, waiting, aside] = Array.from({ length: 6 }, newId)
        if (!lost || !unfinished || !part || !registered || !waiting || !aside) return
        upload(lost, true)
        upload(unfinished, false)
        upload(part, true, { part: { ownerId: "ada" } })
        for (const id of [registered, waiting, aside]) upload(id, true)
        const known = store.add("rejected", text("known"))
        store.files.set(registered, { ...known, fileId: registered })
        for (const fileId of [waiting, aside]) yield* journal.write(entryOf({ ...known, fileId }))
        yield* journal.setAside(aside)
        yield* put("quarantine", text("known"))
        const { findings } = yield* run(store)
        expect(new Set(findings)).toEqual(
          new Set([
            { kind: "lost", fileId: lost },
            { kind: "aside", fileId: aside }
          ])
        )
      })
    )
  )

  it.live("leaves a journal entry that cannot be read where it is, and says since when one waits", () =>
    withStore((store) =>
      Effect.gen(function* () {
        const file = store.add("received", text("waits long"))
        store.files.delete(file.fileId)
        yield* (yield* Journal).write(entryOf(file))
        yield* put("quarantine", text("waits long"))
        const folder = join(store.root, "journal")
        store.age(join(folder, `${file.fileId}.json`), 1)
        const unreadable = newId()
        writeFileSync(join(folder, `${unreadable}.json`), "{")
        const { findings, found } = yield* run(store)
        expect(findings).toEqual([
          { kind: "unreadable", fileId: unreadable },
          { kind: "late", fileId: file.fileId, ageMs: expect.any(Number) }
        ])
        expect(found).toMatchObject({ damage: 1, notes: 1 })
        expect(readdirSync(folder)).toContain(`${unreadable}.json`)
      })
    )
  )

  it.live("names old content that nobody needs, and removes it when told to, and nothing else", () =>
    withStore((store) =>
      Effect.gen(function* () {
        store.add("released", text("given"))
        store.add("parked", text("waits"))
        yield* put("released", text("given"))
        yield* put("quarantine", text("waits"))
        for (const place of ["quarantine", "released"] as const) {
          for (const name of ["old", "young"]) yield* put(place, text(name))
          store.age(store.path(place, sha256Of(text("old"))), 8)
          store.age(store.path(place, sha256Of(text("young"))), 6)
        }
        store.age(store.path("released", sha256Of(text("given"))), 30)
        store.age(store.path("quarantine", sha256Of(text("waits"))), 30)
        const looked = yield* run(store)
        expect(looked.told).toEqual(["orphan", "orphan"])
        expect(looked.found).toMatchObject({ contents: 6, keptForNow: 2, removed: 0, orphans: 2 })
        const repaired = yield* run(store, { isRepairing: true })
        expect(repaired.found).toMatchObject({ contents: 6, removed: 2, orphans: 2 })
        const after = yield* run(store)
        expect(after.told).toEqual([])
        expect(after.found).toMatchObject({ contents: 4, keptForNow: 2 })
      })
    )
  )

  it.live("says nothing of what moved on while it looked", () =>
    withStore((store) =>
      Effect.gen(function* () {
        const released = store.add("released", text("released since"))
        yield* put("released", text("released since"))
        store.before.set(released.fileId, { ...released, state: "converted" })
        const rejected = store.add("rejected", text("rejected since"))
        store.before.set(rejected.fileId, { ...rejected, state: "released" })
        expect((yield* run(store)).findings).toEqual([])
      })
    )
  )

  it.live("does the same on object storage", () =>
    Effect.gen(function* () {
      const server = yield* startS3Server()
      const store = yield* Effect.acquireRelease(
        Effect.sync(() => new Store()),
        ({ removed }) => removed
      )
      yield* Effect.gen(function* () {
        const given = store.add("released", text("given"))
        const missing = store.add("released", text("missing"))
        const short = store.add("released", text("short"))
        store.files.set(short.fileId, { ...short, sizeBytes: 100 })
        for (const name of ["given", "short", "old"]) yield* put("released", text(name))
        for (const name of readdirSync(server.directory, { recursive: true, encoding: "utf8" })) {
          if (name.includes(sha256Of(text("old")))) store.age(join(server.directory, name), 8)
        }
        const { findings, found } = yield* run(store, { isDeep: true, isRepairing: true })
        expect(new Set(findings.map((one) => [one.kind, "fileId" in one ? one.fileId : one.sha256].join()))).toEqual(
          new Set([`missing,${missing.fileId}`, `size,${short.fileId}`, `orphan,${sha256Of(text("old"))}`])
        )
        expect(found).toMatchObject({ contents: 3, removed: 1, hashedBytes: given.sizeBytes })
      }).pipe(Effect.provide(store.services(BlobStoreS3.layerReleased(server.options))))
    })
  )

  const Plan = Schema.Array(
    Schema.Struct({
      state: Schema.Literals(["received", "identified", "scanned", "converted", "parked", "released", "rejected"]),
      content: Schema.Literals(["a", "b", "c"]),
      isThere: Schema.Literals(["nowhere", "quarantine", "released", "both"]),
      isOld: Schema.Boolean
    })
  ).check(Schema.isMaxLength(6))

  it.effect.prop(
    "whatever there is and is not, it names exactly what is lacking and left over",
    [Plan],
    ([plan]) =>
      withStore((store) =>
        Effect.gen(function* () {
          const there = { quarantine: new Map<Sha256, boolean>(), released: new Map<Sha256, boolean>() }
          for (const { content, isOld, isThere, state } of plan) {
            const file = store.add(state, text(content))
            for (const place of ["quarantine", "released"] as const) {
              if (isThere !== place && isThere !== "both") continue
              yield* put(place, text(content))
              store.age(store.path(place, file.sha256), isOld ? 9 : 1)
              there[place].set(file.sha256, isOld)
            }
          }
          const needs = [...store.files.values()].flatMap(needsOf)
          const missing = needs.filter(({ place, sha256 }) => !there[place].has(sha256))
          const orphans = (["quarantine", "released"] as const).flatMap((place) =>
            [...there[place]].filter(
              ([key, isOld]) => isOld && !needs.some((need) => need.place === place && need.sha256 === key)
            )
          )
          const { findings, found } = yield* run(store, { isRepairing: true })
          expect(findings.filter(({ kind }) => kind === "missing").length).toBe(missing.length)
          expect([found.orphans, found.removed]).toEqual([orphans.length, orphans.length])
          expect(findings.length).toBe(missing.length + orphans.length)
        })
      ).pipe(Effect.scoped),
    { arbitrary: { runs: 15 } }
  )
})

const contentOf = ({ fileId, sha256, sizeBytes }: Attachment) => ({ fileId, sha256, sizeBytes })

it.live("the needs of very many files are sorted without holding them all", () =>
  Effect.gen(function* () {
    const root = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "holdfast-needs-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
    )
    mkdirSync(join(root, "verify-999999999-left"))
    const needs = yield* NeedsByHash.make(root)
    const need = (index: number): Need => ({
      place: index % 2 === 0 ? "released" : "quarantine",
      sha256: Sha256.make(`${(index % 256).toString(16).padStart(2, "0")}${String(index).padStart(62, "0")}`),
      sizeBytes: index,
      fileId: FileId.make(uuid(index)),
      state: "released"
    })
    const count = FileCommands.gatheredReferencesMax + 1000
    for (let from = 0; from < count; from += 1000) {
      const some = Array.from({ length: 1000 }, (_, index) => need(from + index))
      yield* Effect.promise(() => needs.add(some))
    }
    expect(readdirSync(root).filter((name) => name.includes("left"))).toEqual([])
    const part = yield* Effect.promise(() => needs.part("07"))
    const expected = Array.from({ length: count }, (_, index) => index).filter((index) => index % 256 === 7)
    expect(part.quarantine.size).toBe(expected.length)
    expect(part.released.size).toBe(0)
    expect(part.quarantine.get(need(7).sha256)).toEqual([need(7)])
  })
)
