// How many bytes each principal, and all together, may have stored within any 24 hours. An upload is charged with its whole length before it is
// begun, so nothing that was admitted is refused later, and however many begin at once no more are admitted than there is room for; it gives
// its bytes back when it is deleted or expires before it is a file. What is refused says which limit it met, and when there is room again:
// 413 what can never fit, 429 what is the sender's own doing (RFC 6585), 507 what all together have used up (RFC 4918).
import type { FileId } from "@holdfast/contracts/Ids"
import { Files } from "@holdfast/resilience/Limits"
import { ByteSize, Duration } from "effect"
import { type Problem, tusRefusal } from "./Problem.ts"
import { type Charge, type LedgerPage, QuotaLedger } from "./QuotaLedger.ts"

export interface QuotaLimits {
  readonly perPrincipalBytes: number
  readonly totalBytes: number
}

export const quotaDefault: QuotaLimits = {
  perPrincipalBytes: ByteSize.toNumberUnsafe(Files.uploadQuotaPerPrincipalBytes),
  totalBytes: ByteSize.toNumberUnsafe(Files.uploadQuotaTotalBytes)
}

interface QuotaOptions {
  readonly folder: string
  readonly limits: QuotaLimits
  /** The uploads that are there, to fill a ledger that is new or was broken. */
  readonly describe: () => Promise<ReadonlyArray<Charge>>
  /** This machine's clock, unless told. */
  readonly nowMs?: () => number
}

export class UploadQuota {
  readonly #ledger: QuotaLedger
  readonly #limits: QuotaLimits
  readonly #describe: QuotaOptions["describe"]
  readonly #nowMs: () => number

  constructor({ describe, folder, limits, nowMs = Date.now }: QuotaOptions) {
    this.#ledger = new QuotaLedger(folder)
    this.#limits = limits
    this.#describe = describe
    this.#nowMs = nowMs
  }

  /** Charges the owner, or rejects with the refusal; `insteadOf`: uploads of theirs whose charges this one takes over. */
  async take(id: FileId, ownerId: string, sizeBytes: number, insteadOf: ReadonlyArray<FileId> = []): Promise<void> {
    const refusal = await this.#filled((page) => {
      const atMs = this.#nowMs()
      const replaced = [id, ...insteadOf]
      for (;;) {
        const removed = page.removeUntil(atMs - dayMs)
        const missing = this.#judge(page, ownerId, sizeBytes - page.chargedBytes(ownerId, replaced), sizeBytes)
        if (missing === null) break
        if (removed < Files.quotaBatchMax) return { ...missing, nowMs: atMs }
      }
      page.remove(replaced)
      page.add([{ id, ownerId, sizeBytes, atMs }])
      return null
    })
    if (refusal !== null) throw tusRefusal(problemOf(refusal))
  }

  /** Null when there is room for so many more. */
  #judge(page: LedgerPage, ownerId: string, moreBytes: number, sizeBytes: number): Missing | null {
    for (const { limitBytes, whose } of [
      { whose: ownerId, limitBytes: this.#limits.perPrincipalBytes },
      { whose: null, limitBytes: this.#limits.totalBytes }
    ]) {
      const takenBytes = page.takenBytes(whose)
      const excessBytes = takenBytes + moreBytes - limitBytes
      if (excessBytes <= 0) continue
      const facts = { isOwn: whose !== null, limitBytes, takenBytes }
      if (sizeBytes > limitBytes) return { ...facts, roomAtMs: null }
      return { ...facts, roomAtMs: page.chargedAtMs(whose, excessBytes) + dayMs }
    }
    return null
  }

  /** Of an upload that is gone, and never became a file. */
  async giveBack(id: FileId): Promise<void> {
    await this.#ledger.change((page) => page.remove([id]))
  }

  /** What `take` took over, where nothing came of it. */
  async putBack(id: FileId, replaced: ReadonlyArray<Charge>): Promise<void> {
    await this.#ledger.change((page) => {
      page.remove([id])
      page.add(replaced)
    })
  }

  /** Takes these to be charged, as after a power cut. */
  async remember(charges: ReadonlyArray<Charge>): Promise<void> {
    const sinceMs = this.#nowMs() - dayMs
    const counted = charges.filter(({ atMs }) => atMs > sinceMs)
    for (let from = 0; from < counted.length; from += Files.quotaBatchMax) {
      await this.#ledger.change((page) => page.add(counted.slice(from, from + Files.quotaBatchMax)))
    }
    await this.#ledger.change((page) => page.markFilled())
  }

  /** Removes what is over, and the charges of uploads that are not there, but for those that are just being begun. */
  async sweep(described: ReadonlySet<string>): Promise<void> {
    const nowMs = this.#nowMs()
    while ((await this.#filled((page) => page.removeUntil(nowMs - dayMs))) === Files.quotaBatchMax);
    const untilMs = nowMs - Duration.toMillis(Files.quotaBeginDelay)
    for (let after = ""; ; ) {
      const ids = await this.#ledger.change((page) => {
        const listed = page.list(after, untilMs)
        page.remove(listed.filter((id) => !described.has(id)))
        return listed
      })
      const last = ids.at(-1)
      if (last === undefined || ids.length < Files.quotaBatchMax) return
      after = last
    }
  }

  async #filled<A>(work: (page: LedgerPage) => A): Promise<A> {
    for (;;) {
      const done = await this.#ledger.change((page) => (page.isNew ? null : { result: work(page) }))
      if (done !== null) return done.result
      await this.remember(await this.#describe())
    }
  }
}

const dayMs = Duration.toMillis(Files.quotaWindow)

interface Missing {
  readonly isOwn: boolean
  readonly limitBytes: number
  readonly takenBytes: number
  /** Null: never. */
  readonly roomAtMs: number | null
}

const problemOf = (missing: Missing & { readonly nowMs: number }): Problem => {
  const { isOwn, limitBytes, nowMs, roomAtMs, takenBytes } = missing
  const who = isOwn ? "You may" : "All together may"
  const limit = `${who} upload ${sizeText(limitBytes)} in 24 hours`
  const fields = { limitBytes, takenBytes }
  if (roomAtMs === null) {
    const title = `${limit}, and this upload alone is more than that; send it in smaller files.`
    return { status: 413, tag: isOwn ? "UploadQuotaExceeded" : "DeskUploadQuotaExceeded", title, fields }
  }
  const roomAt = new Date(roomAtMs).toISOString()
  const retryAfterSeconds = Math.max(1, Math.ceil((roomAtMs - nowMs) / 1000))
  return {
    status: isOwn ? 429 : 507,
    tag: isOwn ? "UploadQuotaExceeded" : "DeskUploadQuotaExceeded",
    title: `${limit}, and ${isOwn ? "you have" : "they have"} used ${sizeText(takenBytes)} of it; there is room for this upload again at ${roomAt}, or sooner when one that is under way is deleted.`,
    fields: { ...fields, roomAt, retryAfterMs: retryAfterSeconds * 1000 },
    headers: { "retry-after": String(retryAfterSeconds) }
  }
}

const units = ["bytes", "KiB", "MiB", "GiB", "TiB"]

const sizeText = (bytes: number): string => {
  let [size, unit] = [bytes, 0]
  while (size >= 1024 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1]
  return `${Math.floor(size * 10) / 10} ${units[unit]}`
}
