// Uploads over tus, through tus-js-client for the protocol. Everything around it is here: the upload is resumed where the desk has it after
// whatever cut it, over a new connection when the line hangs, with a fresh token when the old one is refused, in chunks that take about
// two seconds on the line as it is. It goes on until it is done, refused or aborted.
import { Result, Schema } from "effect"
import { DetailedError, Upload as TusUpload } from "tus-js-client"
import { backoffMs } from "./Backoff.ts"
import { type Desk, detailOf, join } from "./Desk.ts"
import { Uploads as Limits, Requests } from "./Limits.ts"

/** In Node `await openAsBlob(path)` of `node:fs` gives a file as a Blob. */
export type UploadSource = Blob | Uint8Array

export interface UploadProgress {
  readonly state: "sending" | "waiting" | "paused" | "uploaded"
  /** Sent; what the desk is known to have comes up to it with each chunk. */
  readonly sentBytes: number
  readonly totalBytes: number
  /** Sent more than once because a connection broke. */
  readonly resentBytes: number
  /** How often it was resumed. */
  readonly cuts: number
  /** Why it waits. */
  readonly detail?: string
}

export interface UploadProblem {
  readonly _tag: string
  readonly title: string
  readonly httpStatus: number
}

export type UploadOutcome =
  /** All of it is safe at the desk. It may be attached at once, and downloaded once it is released. */
  | { readonly status: "uploaded"; readonly fileId: string }
  | { readonly status: "refused"; readonly problem: UploadProblem }
  | { readonly status: "aborted" }

export interface UploadOptions {
  readonly name: string
  /** Its media type as you know it; the desk finds out by itself. */
  readonly type?: string
  readonly ticketId?: string
  readonly onProgress?: (progress: UploadProgress) => void
  /** Aborts. */
  readonly signal?: AbortSignal
}

export interface Upload {
  readonly outcome: Promise<UploadOutcome>
  readonly progress: UploadProgress
  /** Stops sending; the desk keeps what it has for a day. */
  pause(): void
  resume(): void
  /** Gives it up, and tells the desk so as well as the line allows. */
  abort(): void
}

/** Where an upload was begun, for whoever wants to find it again. */
export interface UploadMemory {
  readonly url: string | null
  readonly begun: (url: string) => void | Promise<void>
}

const nowhere: UploadMemory = { url: null, begun: () => {} }

export const startUpload = (
  desk: Desk,
  source: UploadSource,
  options: UploadOptions,
  memory: UploadMemory = nowhere
): Upload => new ResumingUpload(desk, source, options, memory)

/** How one connection's worth of uploading ended. */
type Ended =
  | { readonly type: "done" }
  | { readonly type: "stopped" }
  | {
      readonly type: "failed"
      readonly status: number
      readonly problem: UploadProblem | null
      readonly retryAfterMs: number
      readonly detail: string
    }

class ResumingUpload implements Upload {
  readonly outcome: Promise<UploadOutcome>
  readonly #desk: Desk
  readonly #source: UploadSource
  readonly #options: UploadOptions
  readonly #memory: UploadMemory
  #progress: UploadProgress
  #url: string | null
  #chunkBytes: number = Limits.chunkBytesStart
  #isAborted = false
  #isTokenRefused = false
  #resumed: PromiseWithResolvers<void> | null = null
  #wake = new AbortController()
  #stop: () => void = () => {}

  constructor(desk: Desk, source: UploadSource, options: UploadOptions, memory: UploadMemory) {
    this.#desk = desk
    this.#source = source
    this.#options = options
    this.#memory = memory
    this.#url = memory.url
    const totalBytes = source instanceof Blob ? source.size : source.byteLength
    this.#progress = { state: "sending", sentBytes: 0, totalBytes, resentBytes: 0, cuts: 0 }
    this.outcome = this.#run()
    if (options.signal?.aborted === true) this.abort()
    options.signal?.addEventListener("abort", () => this.abort())
  }

  get progress(): UploadProgress {
    return this.#progress
  }

  pause(): void {
    if (this.#resumed !== null || this.#isAborted) return
    this.#resumed = Promise.withResolvers()
    this.#report({ state: "paused" })
    this.#stop()
  }

  resume(): void {
    this.#resumed?.resolve()
    this.#resumed = null
    this.#wake.abort()
    this.#wake = new AbortController()
  }

  abort(): void {
    this.#isAborted = true
    this.resume()
    this.#stop()
  }

  async #run(): Promise<UploadOutcome> {
    for (let failures = 0; ; ) {
      await this.#resumed?.promise
      if (this.#isAborted) return await this.#giveUp()
      const before = this.#progress.sentBytes
      const ended = await this.#connectOnce()
      if (ended.type === "done") return this.#finished()
      if (ended.type === "stopped") continue
      const refusal = this.#refusedBy(ended)
      if (refusal !== null) return { status: "refused", problem: refusal }
      failures = this.#progress.sentBytes > before ? 0 : failures + 1
      await this.#wait(failures, ended)
    }
  }

  #finished(): UploadOutcome {
    const { totalBytes } = this.#progress
    this.#report({ state: "uploaded", sentBytes: totalBytes })
    return { status: "uploaded", fileId: new URL(this.#url ?? "").pathname.split("/").at(-1) ?? "" }
  }

  async #giveUp(): Promise<UploadOutcome> {
    if (this.#url !== null) {
      const token = await Promise.resolve(this.#desk.getToken({ refused: false })).catch(() => "")
      // The desk forgets it by itself after a day.
      await TusUpload.terminate(this.#url, { headers: { authorization: `Bearer ${token}` }, retryDelays: [] }).catch(
        () => {}
      )
    }
    return { status: "aborted" }
  }

  async #wait(
    failures: number,
    { detail, retryAfterMs, status }: Extract<Ended, { readonly type: "failed" }>
  ): Promise<void> {
    this.#chunkBytes = Math.max(Limits.chunkBytesMin, Math.floor(this.#chunkBytes / 2))
    this.#report({ state: "waiting", cuts: this.#progress.cuts + 1, detail })
    // What is not there any more, or never was, is begun anew.
    if (this.#url !== null && (status === 404 || status === 410)) this.#url = null
    const { backoffMaxMs: maxMs, backoffMinMs: minMs } = Limits
    const { random, sleep } = this.#desk.timing
    await sleep(retryAfterMs + backoffMs({ minMs, maxMs }, failures, random), this.#wake.signal)
    if (this.#resumed === null) this.#report({ state: "sending" })
  }

  /** Null: it passes. */
  #refusedBy({ problem, status }: Extract<Ended, { readonly type: "failed" }>): UploadProblem | null {
    const wasTokenRefused = this.#isTokenRefused
    this.#isTokenRefused = status === 401
    if (status === 401) return wasTokenRefused ? problem : null
    const isFinal = [400, 403, 405, 412, 413, 415].includes(status)
    return isFinal ? problem : null
  }

  #report(change: Partial<UploadProgress>): void {
    const { detail: _, ...rest } = this.#progress
    this.#progress = { ...rest, ...change }
    this.#options.onProgress?.(this.#progress)
  }

  /** One tus upload from where the desk has it: until it is done, fails, hangs, or is stopped. */
  #connectOnce(): Promise<Ended> {
    const ended = Promise.withResolvers<Ended>()
    let isOver = false
    let stall: ReturnType<typeof setTimeout> | undefined
    let chunkFromMs = this.#desk.timing.nowMs()
    const end = (how: Ended) => {
      if (isOver) return
      isOver = true
      clearTimeout(stall)
      ended.resolve(how)
    }
    const alive = () => {
      clearTimeout(stall)
      if (!isOver) stall = setTimeout(() => cut({ ...failure, detail: "the line hangs" }), Limits.stallDeadlineMs)
    }
    const tus = new TusUpload(asTusFile(this.#source), {
      ...(this.#url === null ? { endpoint: join(this.#desk.urls.files, "/files/") } : { uploadUrl: this.#url }),
      metadata: metadataOf(this.#options),
      chunkSize: this.#chunkBytes,
      retryDelays: null,
      storeFingerprintForResuming: false,
      fileReader: { openFile: async (input) => sourceOf(input) },
      onBeforeRequest: async (request) => {
        const token = await this.#desk.getToken({ refused: this.#isTokenRefused })
        request.setHeader("authorization", `Bearer ${token}`)
        alive()
      },
      onUploadUrlAvailable: () => this.#begun(tus.url),
      onProgress: (sentBytes) => {
        if (isOver) return
        alive()
        this.#sent(sentBytes)
      },
      onChunkComplete: (bytes) => {
        alive()
        this.#isTokenRefused = false
        const nowMs = this.#desk.timing.nowMs()
        tus.options.chunkSize = this.#chunkBytes = nextChunkBytes(this.#chunkBytes, bytes, nowMs - chunkFromMs)
        chunkFromMs = nowMs
      },
      onError: (error) => end(failureOf(error)),
      onSuccess: () => end({ type: "done" })
    })
    const cut = (how: Ended) => {
      end(how)
      // Its request is gone either way; what it says of that does not matter.
      tus.abort().catch(() => {})
    }
    this.#stop = () => cut({ type: "stopped" })
    alive()
    tus.start()
    return ended.promise
  }

  #begun(url: string | null): void {
    if (url === null || url === this.#url) return
    this.#url = url
    void this.#memory.begun(url)
  }

  #sent(sentBytes: number): void {
    const again = Math.max(0, this.#progress.sentBytes - sentBytes)
    this.#report({ sentBytes, resentBytes: this.#progress.resentBytes + again })
  }
}

const failure = { type: "failed", status: 0, problem: null, retryAfterMs: 0, detail: "" } as const

const decodeProblem = Schema.decodeUnknownResult(
  Schema.fromJsonString(Schema.Struct({ type: Schema.String, title: Schema.String }))
)

const failureOf = (error: Error): Ended => {
  const response = error instanceof DetailedError ? error.originalResponse : null
  if (response === null) return { ...failure, detail: detailOf(error) }
  const status = response.getStatus()
  const decoded = decodeProblem(response.getBody())
  const seconds = Number(response.getHeader("retry-after") ?? 0)
  const retryAfterMs = seconds > 0 ? Math.min(seconds * 1000, Requests.retryAfterMsMax) : 0
  if (Result.isFailure(decoded)) return { ...failure, status, retryAfterMs, detail: `status ${status}` }
  const { title, type } = decoded.success
  const problem = { _tag: type.slice(type.lastIndexOf(":") + 1), title, httpStatus: status }
  return { ...failure, status, problem, retryAfterMs, detail: title }
}

/** Towards what passes in about the wanted time, at most twice as much at once. */
const nextChunkBytes = (chunkBytes: number, sentBytes: number, tookMs: number): number => {
  // The last chunk is short, and says nothing of the line.
  if (sentBytes < chunkBytes) return chunkBytes
  const wanted = (chunkBytes * Limits.chunkTargetMs) / Math.max(1, tookMs)
  const next = Math.min(chunkBytes * 2, Math.max(chunkBytes / 2, wanted))
  return Math.floor(Math.min(Limits.chunkBytesMax, Math.max(Limits.chunkBytesMin, next)))
}

const metadataOf = ({ name, ticketId, type }: UploadOptions): Record<string, string> => ({
  filename: name,
  ...(type === undefined ? {} : { filetype: type }),
  ...(ticketId === undefined ? {} : { ticketId })
})

const asTusFile = (source: UploadSource): Blob => (source instanceof Blob ? source : new Blob([new Uint8Array(source)]))

/** One way to read in Node and in browsers; tus-js-client's own readers differ, and Node's knows no Blob. */
const sourceOf = (blob: Blob) => ({
  size: blob.size,
  slice: async (start: number, end: number) => {
    const bytes = new Uint8Array(await blob.slice(start, end).arrayBuffer())
    return { value: Object.assign(bytes, { size: bytes.byteLength }), done: end >= blob.size }
  },
  close: () => {}
})
