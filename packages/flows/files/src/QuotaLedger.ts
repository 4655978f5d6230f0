// What uploads of the last day were charged with: one row each, in an SQLite file beside the uploads, so that every gateway on this disk
// counts the same and none needs a server for it. The kernel's lock on the file makes each change one by one; it is opened anew for each, so no
// gateway goes on with a file that another one has replaced. Nothing is flushed: the end of a process loses nothing, and what a power cut takes
// or breaks is put together again from the descriptions of the uploads, which are flushed. A new or a broken ledger says so by itself.
import { mkdirSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { setTimeout as pause } from "node:timers/promises"
import type { FileId } from "@holdfast/contracts/Ids"
import { Files } from "@holdfast/resilience/Limits"
import { Duration } from "effect"

export interface Charge {
  readonly id: FileId
  readonly ownerId: string
  readonly sizeBytes: number
  readonly atMs: number
}

/** The sums are kept by the file itself, so that nobody adds up a day's uploads for each new one. No principal's id is empty. */
const schema = `
CREATE TABLE IF NOT EXISTS charge (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, bytes INTEGER NOT NULL, at INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS charge_at ON charge (at);
CREATE INDEX IF NOT EXISTS charge_owner ON charge (owner, at);
CREATE TABLE IF NOT EXISTS taken (owner TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE TRIGGER IF NOT EXISTS charged AFTER INSERT ON charge BEGIN
  INSERT INTO taken VALUES (new.owner, new.bytes), ('', new.bytes)
  ON CONFLICT (owner) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER IF NOT EXISTS discharged AFTER DELETE ON charge BEGIN
  UPDATE taken SET bytes = bytes - old.bytes WHERE owner IN (old.owner, '');
  DELETE FROM taken WHERE owner IN (old.owner, '') AND bytes = 0;
END;`

const everybody = ""

/** One open ledger, within a change. */
export class LedgerPage {
  readonly #file: DatabaseSync
  constructor(file: DatabaseSync) {
    this.#file = file
  }

  takenBytes(ownerId: string | null): number {
    return numberOf(this.#file.prepare("SELECT bytes FROM taken WHERE owner = ?").get(ownerId ?? everybody)?.bytes)
  }

  chargedBytes(ownerId: string, ids: Iterable<FileId>): number {
    const find = this.#file.prepare("SELECT bytes FROM charge WHERE id = ? AND owner = ?")
    return [...new Set(ids)].reduce((sum, id) => sum + numberOf(find.get(id, ownerId)?.bytes), 0)
  }

  /** Those that are charged already stay as they are. */
  add(charges: ReadonlyArray<Charge>): void {
    const insert = this.#file.prepare("INSERT OR IGNORE INTO charge VALUES (?, ?, ?, ?)")
    for (const { atMs, id, ownerId, sizeBytes } of charges) insert.run(id, ownerId, sizeBytes, atMs)
  }

  remove(ids: Iterable<string>): void {
    const remove = this.#file.prepare("DELETE FROM charge WHERE id = ?")
    for (const id of ids) remove.run(id)
  }

  /** At most `Files.quotaBatchMax` of those that were charged by then; how many. */
  removeUntil(atMs: number): number {
    const old = "SELECT id FROM charge WHERE at <= ? ORDER BY at LIMIT ?"
    const { changes } = this.#file.prepare(`DELETE FROM charge WHERE id IN (${old})`).run(atMs, Files.quotaBatchMax)
    return Number(changes)
  }

  /** When so many bytes were charged, counted from the oldest on; of very many small ones the time of the last that was looked at. */
  chargedAtMs(ownerId: string | null, bytes: number): number {
    const which = ownerId === null ? "" : "WHERE owner = ?"
    const rows = this.#file
      .prepare(`SELECT bytes, at FROM charge ${which} ORDER BY at LIMIT ${Files.quotaLookedAtMax}`)
      .iterate(...(ownerId === null ? [] : [ownerId]))
    let [sum, atMs] = [0, 0]
    for (const row of rows) {
      sum += numberOf(row.bytes)
      atMs = numberOf(row.at)
      if (sum >= bytes) break
    }
    return atMs
  }

  /** A page of the charges, in the order of their ids. */
  list(afterId: string, untilMs: number): ReadonlyArray<string> {
    return this.#file
      .prepare("SELECT id FROM charge WHERE id > ? AND at <= ? ORDER BY id LIMIT ?")
      .all(afterId, untilMs, Files.quotaBatchMax)
      .map(({ id }) => String(id))
  }

  get isNew(): boolean {
    return numberOf(this.#file.prepare("PRAGMA user_version").get()?.user_version) === 0
  }

  markFilled(): void {
    this.#file.exec("PRAGMA user_version = 1")
  }
}

const numberOf = (value: unknown): number => (typeof value === "number" ? value : 0)

export class QuotaLedger {
  readonly #path: string
  constructor(folder: string) {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.#path = join(folder, "quota-1.sqlite")
  }

  /** All of the change or nothing, after those of others. Rejects with what SQLite says of the disk, or as one that was not free in time. */
  async change<A>(work: (page: LedgerPage) => A): Promise<A> {
    const giveUpAt = performance.now() + Duration.toMillis(Files.quotaDeadline)
    for (;;) {
      try {
        return this.#changeNow(work)
      } catch (error) {
        const isTooLate = performance.now() > giveUpAt
        if (isTooLate || !(isBroken(error) || isBusy(error))) throw error
        if (isBroken(error)) this.#setAside()
        await pause(Duration.toMillis(Files.quotaRetryDelay))
      }
    }
  }

  #changeNow<A>(work: (page: LedgerPage) => A): A {
    const file = new DatabaseSync(this.#path, { timeout: 0 })
    try {
      file.exec("PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = OFF; BEGIN EXCLUSIVE")
      file.exec(schema)
      const result = work(new LedgerPage(file))
      file.exec("COMMIT")
      return result
    } finally {
      // What was not committed is taken back.
      file.close()
    }
  }

  /** For somebody to look at, one at a time; the next change finds a new one. */
  #setAside(): void {
    rmSync(`${this.#path}-journal`, { force: true })
    try {
      renameSync(this.#path, `${this.#path}.broken`)
    } catch (error) {
      // Another gateway was faster.
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error
    }
  }
}

const codeOf = (error: unknown): number =>
  error instanceof Error && "errcode" in error && typeof error.errcode === "number" ? error.errcode & 0xff : 0
const [busy, corrupt, notDatabase] = [5, 11, 26]
const isBusy = (error: unknown): boolean => codeOf(error) === busy
const isBroken = (error: unknown): boolean => [corrupt, notDatabase].includes(codeOf(error))
