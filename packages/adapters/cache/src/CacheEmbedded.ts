// The cached read models in one SQLite file: durable, shared by the processes of one machine, words by FTS5. Calls are synchronous and
// short; readers are never held up by a writer (WAL), and a writer waits for another a bounded time. The file holds nothing that
// cannot be made again, so it trades the last moments before a power cut for speed.
import { randomUUID } from "node:crypto"
import { mkdirSync } from "node:fs"
import { dirname } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { type Failure, makeGuard } from "@holdfast/resilience/Guard"
import { Cache as Limits } from "@holdfast/resilience/Limits"
import { type Advance, advance, type Progress } from "@holdfast/resilience/Progress"
import { Duration, Effect, Layer } from "effect"
import {
  Cache,
  type CacheDocument,
  type CacheEntry,
  type CacheKey,
  kindOf,
  type ListCursor,
  type ListPage,
  type WordSearch
} from "./Cache.ts"

export interface EmbeddedOptions {
  /** Its folder is made if it is missing. */
  readonly file: string
}

/** In the file's `user_version`; another shape of tables starts empty. */
const schemaVersion = 1

export const layer = (options: EmbeddedOptions) =>
  Layer.effect(
    Cache,
    Effect.gen(function* () {
      const open = yield* opener(options.file)
      const call = <A>(work: (store: Store) => A) =>
        Effect.try({ try: () => work(open()), catch: (error) => new SqliteFailure(error) })
      const guard = yield* makeGuard({
        dependency: "cache",
        deadline: Limits.writeDeadline,
        concurrencyMax: Limits.callsUnderWayMax,
        acquireDeadline: Limits.acquireDeadline,
        probe: call((store) => store.progress()),
        toFailure
      })
      const run = <A>(work: (store: Store) => A) =>
        guard.call(call(work)).pipe(Effect.catchIf((error) => error instanceof SqliteFailure, Effect.die))
      return Cache.of({
        getMany: (keys) => run((store) => keys.map((key) => store.get(key))),
        put: (entries) => run((store) => store.write(() => entries.forEach(store.put))),
        remove: (keys) => run((store) => store.write(() => keys.forEach(store.forget))),
        page: (list, first, after) => run((store) => store.page(list, first, after)),
        search: (search) => run((store) => store.search(search)),
        progress: run((store) => store.progress()),
        beginFilling: run((store) => store.write(store.beginFilling)),
        advance: (change) => run((store) => store.write(() => store.advance(change)))
      })
    })
  )

class SqliteFailure extends Error {
  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

/** A wrong statement is a defect; all else is the file: locked, full, damaged, not to be opened. */
const toFailure = (error: unknown): Failure | null =>
  error instanceof SqliteFailure && /syntax error|no such (table|column)/.test(error.message)
    ? null
    : { reason: "refused", detail: error instanceof Error ? error.message : String(error) }

/** Opened on first use and again after it could not be. */
const opener = (file: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync((): { store: Store | null } => ({ store: null })),
      (held) => Effect.sync(() => held.store?.close())
    ),
    (held) => () => {
      held.store ??= openStore(file)
      return held.store
    }
  )

const tables = `
CREATE TABLE document (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, version INTEGER NOT NULL, score REAL NOT NULL, body TEXT NOT NULL);
CREATE INDEX document_age ON document (kind, score);
CREATE TABLE place (list TEXT NOT NULL, score REAL NOT NULL, key TEXT NOT NULL, PRIMARY KEY (list, score, key)) WITHOUT ROWID;
CREATE INDEX place_key ON place (key);
CREATE VIRTUAL TABLE word USING fts5(public, internal, content='', contentless_delete=1, detail=column);
CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL, as_of INTEGER NOT NULL, moved_at INTEGER NOT NULL);
CREATE TABLE ahead (position INTEGER PRIMARY KEY, occurred_at INTEGER NOT NULL);
PRAGMA user_version = ${schemaVersion};`

const openStore = (file: string): Store => {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const db = new DatabaseSync(file, { timeout: Duration.toMillis(Limits.fileLockDeadline) })
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
  const versionOf = () => Number(db.prepare("PRAGMA user_version").get()?.user_version)
  if (versionOf() !== schemaVersion) {
    db.exec("BEGIN IMMEDIATE")
    if (versionOf() !== schemaVersion) {
      for (const name of ["document", "place", "word", "progress", "ahead", "filling"])
        db.exec(`DROP TABLE IF EXISTS ${name}`)
      db.exec(tables)
    }
    db.exec("COMMIT")
  }
  db.exec("CREATE TABLE IF NOT EXISTS filling (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL)")
  return makeStore(db)
}

type Store = ReturnType<typeof makeStore>

// biome-ignore lint/complexity/noExcessiveLinesPerFunction: it lists small methods that share prepared statements
const makeStore = (db: DatabaseSync) => {
  const select = db.prepare("SELECT key, version, body FROM document WHERE key = ?")
  const find = db.prepare("SELECT id, version FROM document WHERE key = ?")
  const insert = db.prepare("INSERT INTO document (key, kind, version, score, body) VALUES (?, ?, ?, ?, ?)")
  const place = db.prepare("INSERT OR REPLACE INTO place (list, score, key) VALUES (?, ?, ?)")
  const index = db.prepare("INSERT INTO word (rowid, public, internal) VALUES (?, ?, ?)")
  const count = db.prepare("SELECT count(*) AS n FROM document WHERE kind = ?")
  const oldest = db.prepare("SELECT key FROM document WHERE kind = ? ORDER BY score LIMIT ?")
  const dropPlaces = db.prepare("DELETE FROM place WHERE key = ?")
  const dropWords = db.prepare("DELETE FROM word WHERE rowid = ?")
  const dropDocument = db.prepare("DELETE FROM document WHERE id = ?")
  const inList = db.prepare("SELECT count(*) AS n FROM place WHERE list = ?")
  const walk = db.prepare(`SELECT d.key, d.version, d.body FROM (SELECT score, key FROM place WHERE list = ?
    ORDER BY score DESC, key DESC LIMIT ${Limits.listMax}) p JOIN document d ON d.key = p.key
    WHERE p.score < ? OR (p.score = ? AND p.key < ?) ORDER BY p.score DESC, p.key DESC LIMIT ?`)
  const match =
    db.prepare(`SELECT d.key, d.version, d.body FROM word w JOIN document d ON d.id = w.rowid WHERE word MATCH ?
    ORDER BY d.score DESC, d.key DESC LIMIT ?`)
  const readProgress = db.prepare(
    "SELECT position, as_of, moved_at, (SELECT min(position) FROM ahead) AS ahead FROM progress"
  )
  const readAhead = db.prepare("SELECT position, occurred_at FROM ahead ORDER BY position")
  const addAhead = db.prepare("INSERT OR IGNORE INTO ahead (position, occurred_at) VALUES (?, ?)")
  const saveProgress = db.prepare(
    "INSERT OR REPLACE INTO progress (one, position, as_of, moved_at) VALUES (1, ?, ?, ?)"
  )

  const readFilling = db.prepare("SELECT name FROM filling")
  const addFilling = db.prepare("INSERT INTO filling (one, name) VALUES (1, ?)")
  const endFilling = db.prepare("DELETE FROM filling")

  const write = <A>(work: () => A): A => {
    db.exec("BEGIN IMMEDIATE")
    try {
      const done = work()
      db.exec("COMMIT")
      return done
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK")
      throw error
    }
  }
  const forget = (key: CacheKey) => {
    const held = find.get(key)
    if (held === undefined) return
    dropPlaces.run(key)
    dropWords.run(Number(held.id))
    dropDocument.run(Number(held.id))
  }
  const makeRoom = (kind: string) => {
    const excess = Number(count.get(kind)?.n) - Limits.documentsPerKindMax
    if (excess > 0) for (const { key } of oldest.all(kind, Math.min(excess, 10))) if (isKey(key)) forget(key)
  }
  const put = (entry: CacheEntry) => {
    const held = find.get(entry.key)
    if (held !== undefined && Number(held.version) >= entry.version) return
    forget(entry.key)
    const { lastInsertRowid } = insert.run(entry.key, kindOf(entry.key), entry.version, entry.score, entry.body)
    for (const { list, score } of entry.lists) place.run(list, score, entry.key)
    const bounded = (words: ReadonlyArray<string>) => words.slice(0, Limits.wordsPerDocumentMax).join(" ")
    index.run(lastInsertRowid, bounded(entry.words.public), bounded(entry.words.internal))
    if (held === undefined) makeRoom(kindOf(entry.key))
  }
  const page = (list: string, first: number, after: ListCursor | null): ListPage => {
    const score = after?.score ?? Number.MAX_VALUE
    const found = toDocuments(walk.all(list, score, score, after?.key ?? "", first + 1))
    return {
      documents: found.slice(0, first),
      totalCount: Number(inList.get(list)?.n),
      hasNextPage: found.length > first
    }
  }
  const search = ({ countMax, internal, words }: WordSearch): ReadonlyArray<CacheDocument> => {
    if (words.length === 0) return []
    const columns = internal ? "" : "public : "
    return toDocuments(
      match.all(words.map((word) => `${columns}"${word.replaceAll('"', "")}"`).join(" AND "), countMax)
    )
  }
  const progress = (): Progress | null => {
    const held = readProgress.get()
    if (held === undefined) return null
    return {
      position: Number(held.position),
      asOfMs: Number(held.as_of),
      movedAtMs: Number(held.moved_at),
      aheadFrom: held.ahead === null ? null : Number(held.ahead)
    }
  }
  const filling = (): string | null => {
    const name = readFilling.get()?.name
    return typeof name === "string" ? name : null
  }
  const beginFilling = (): string => {
    const name = filling() ?? randomUUID()
    if (filling() === null) addFilling.run(name)
    return name
  }
  const move = (change: Advance) => {
    const before = progress()
    const ahead = readAhead
      .all()
      .map((row) => ({ position: Number(row.position), occurredAtMs: Number(row.occurred_at) }))
    // Empty, and not by the filling that is under way: the file was taken away meanwhile.
    const isFilled = before !== null || change.filling === filling()
    const after = advance(
      { reached: before, ahead },
      isFilled ? change : { applied: change.applied, nowMs: change.nowMs }
    )
    db.exec("DELETE FROM ahead")
    for (const one of after.ahead.slice(0, Limits.aheadMax)) addAhead.run(one.position, one.occurredAtMs)
    if (after.reached === null) return
    endFilling.run()
    const movedAtMs = before !== null && before.position === after.reached.position ? before.movedAtMs : change.nowMs
    saveProgress.run(after.reached.position, Math.round(after.reached.asOfMs), Math.round(movedAtMs))
  }
  const get = (key: CacheKey): CacheDocument | null => toDocument(select.get(key))
  return { get, put, forget, page, search, progress, beginFilling, advance: move, write, close: () => db.close() }
}

const isKey = (value: unknown): value is CacheKey => typeof value === "string" && value.includes("/")

const toDocument = (row: Readonly<Record<string, unknown>> | undefined): CacheDocument | null =>
  row !== undefined && isKey(row.key) && typeof row.body === "string"
    ? { key: row.key, version: Number(row.version), body: row.body }
    : null

const toDocuments = (rows: ReadonlyArray<Readonly<Record<string, unknown>>>) =>
  rows.map(toDocument).filter((document) => document !== null)
