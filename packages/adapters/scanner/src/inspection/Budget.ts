// The expansion budget of one uploaded file, over all levels of what is inside it. Whoever spends more than there is ends the inspection.
import { beyond, type Finding } from "./Findings.ts"

export interface BudgetLimits {
  readonly expandedBytesMax: number
  readonly ratioMax: number
  readonly ratioFromBytes: number
  readonly entriesMax: number
  readonly depthMax: number
  readonly documentBytesMax: number
  readonly entityBytesMax: number
  readonly pixelsMax: number
  readonly headBytes: number
  readonly tailBytes: number
}

export class Budget {
  readonly limits: BudgetLimits
  readonly #uploadBytes: number
  #expandedBytes = 0
  #entries = 0
  #opaque: Finding | null = null

  constructor(limits: BudgetLimits, uploadBytes: number) {
    this.limits = limits
    this.#uploadBytes = uploadBytes
  }

  get opaque(): Finding | null {
    return this.#opaque
  }

  /** The first thing that cannot be looked into; the rest is looked into nevertheless. */
  cannotLookInto(reason: Finding["reason"], detail: string): void {
    this.#opaque ??= { outcome: "opaque", reason, detail }
  }

  /** @param isPicture what is drawn packs far better than what is written: a blank page is nothing but its size */
  spendBytes(count: number, isPicture = false): void {
    this.#expandedBytes += count
    const { expandedBytesMax, ratioFromBytes, ratioMax } = this.limits
    if (this.#expandedBytes > expandedBytesMax) throw beyond(`expands to more than ${expandedBytesMax} bytes`)
    if (!isPicture && this.#expandedBytes > Math.max(ratioFromBytes, ratioMax * this.#uploadBytes)) {
      throw beyond(`expands to more than ${ratioMax} times its size`)
    }
  }

  spendEntry(): void {
    if (++this.#entries > this.limits.entriesMax) throw beyond(`more than ${this.limits.entriesMax} entries`)
  }

  enter(depth: number): void {
    if (depth > this.limits.depthMax) throw beyond(`more than ${this.limits.depthMax} archives inside each other`)
  }

  /** What is understood as a whole is held in memory. */
  hold(sizeBytes: number, what: string): void {
    const { documentBytesMax } = this.limits
    if (sizeBytes > documentBytesMax) throw beyond(`${what} of more than ${documentBytesMax} bytes`)
  }
}
