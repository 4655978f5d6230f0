// An upload that an outbox remembers: after a crash or a reload the same content is resumed where the desk has it, known by a fingerprint of
// all its bytes. The command that attaches it is kept in the one write that forgets the upload, so it comes neither twice nor never.
import type { AttachFile } from "@holdfast/contracts/ticket/Commands"
import { Result, Schema } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import type { Client } from "./Client.ts"
import { Uploads as Limits } from "./Limits.ts"
import type { Kept } from "./Outbox.ts"
import type { Change } from "./Store.ts"
import type { Upload, UploadOptions, UploadOutcome, UploadProgress, UploadSource } from "./Uploads.ts"

export interface AttachOptions extends UploadOptions {
  /** Attaches it to this ticket once it is uploaded. */
  readonly attachTo?: { readonly ticketId: string; readonly audience?: "public" | "internal" }
  /** What tells this content from any other. Made from the content unless it is given; that needs https or Node. */
  readonly fingerprint?: string
}

type Attachment = (typeof AttachFile)["payload"]["Encoded"]
type AttachRefusal = (typeof AttachFile)["refusals"][number]["Type"]

export type OutboxUploadOutcome =
  | (Extract<UploadOutcome, { readonly status: "uploaded" }> & {
      /** The kept command; null without `attachTo`. */
      readonly attached: Kept<AttachRefusal> | null
    })
  | Exclude<UploadOutcome, { readonly status: "uploaded" }>

export interface OutboxUpload extends Omit<Upload, "outcome"> {
  readonly outcome: Promise<OutboxUploadOutcome>
}

export interface Keeping {
  readonly client: Client
  readonly remembered: Map<string, string>
  readonly write: (changes: ReadonlyArray<Change>) => Promise<void>
  readonly attach: (
    payload: Attachment,
    commandId: string,
    alongside: ReadonlyArray<readonly [string, null]>
  ) => Promise<Kept<AttachRefusal>>
}

const Remembered = Schema.fromJsonString(Schema.Struct({ url: Schema.String, commandId: Schema.String }))
const decodeRemembered = Schema.decodeUnknownResult(Remembered)

export const attachingUpload = (keeping: Keeping, source: UploadSource, options: AttachOptions): OutboxUpload => {
  let upload: Upload | null = null
  let isPaused = false
  const aborted = new AbortController()
  const waiting: UploadProgress = {
    state: "waiting",
    sentBytes: 0,
    totalBytes: sizeOf(source),
    resentBytes: 0,
    cuts: 0
  }
  const run = async (): Promise<OutboxUploadOutcome> => {
    const key = `upload/${options.fingerprint ?? (await fingerprintOf(source, options.name))}`
    const remembered = decodeRemembered(keeping.remembered.get(key))
    const { commandId, url } = Result.isSuccess(remembered)
      ? remembered.success
      : { commandId: uuidV7Unsafe(), url: null }
    const begun = (at: string) => remember(keeping, key, JSON.stringify({ url: at, commandId }))
    upload = keeping.client.upload(source, { ...options, signal: aborted.signal }, { url, begun })
    if (isPaused) upload.pause()
    const outcome = await upload.outcome
    keeping.remembered.delete(key)
    if (outcome.status === "uploaded" && options.attachTo !== undefined) {
      const payload = { ...options.attachTo, fileId: outcome.fileId, name: options.name }
      return { ...outcome, attached: await keeping.attach(payload, commandId, [[key, null]]) }
    }
    // Remembered in vain it only costs a request next time.
    await keeping.write([[key, null]]).catch(() => {})
    return outcome.status === "uploaded" ? { ...outcome, attached: null } : outcome
  }
  const abort = () => aborted.abort()
  if (options.signal?.aborted === true) abort()
  options.signal?.addEventListener("abort", abort)
  return {
    outcome: run(),
    get progress() {
      return upload?.progress ?? waiting
    },
    pause: () => {
      isPaused = true
      upload?.pause()
    },
    resume: () => {
      isPaused = false
      upload?.resume()
    },
    abort
  }
}

const remember = async ({ remembered, write }: Keeping, key: string, text: string): Promise<void> => {
  remembered.set(key, text)
  // Without it the upload is begun anew after a crash.
  await write([[key, text]]).catch(() => {})
}

const sizeOf = (source: UploadSource): number => (source instanceof Blob ? source.size : source.byteLength)

/** Each block's digest covers the one before, so a large file is read piece by piece. */
const fingerprintOf = async (source: UploadSource, name: string): Promise<string> => {
  const { subtle } = globalThis.crypto
  // A page without https: nothing is remembered beyond this page.
  if (subtle === undefined) return uuidV7Unsafe()
  const blob = source instanceof Blob ? source : new Blob([new Uint8Array(source)])
  let digest = new Uint8Array(await subtle.digest("SHA-256", new TextEncoder().encode(`${name}\n${blob.size}`)))
  for (let at = 0; at < blob.size; at += Limits.fingerprintBlockBytes) {
    const block = await blob.slice(at, at + Limits.fingerprintBlockBytes).arrayBuffer()
    const both = new Uint8Array(digest.length + block.byteLength)
    both.set(digest)
    both.set(new Uint8Array(block), digest.length)
    digest = new Uint8Array(await subtle.digest("SHA-256", both))
  }
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")
}
