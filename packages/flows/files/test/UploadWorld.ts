// Uploads on a folder of their own, with a real disk and journal, asked as the endpoint asks. Another gateway on the same folder is one more of
// them; a crash is one that is left where it is.
import { createHash } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { basename, join } from "node:path"
import { Readable } from "node:stream"
import { CorrelationId, FileId, PrincipalId, Sha256 } from "@holdfast/contracts/Ids"
import { Health } from "@holdfast/resilience/Health"
import * as BlobStoreDisk from "@holdfast/storage/BlobStoreDisk"
import { ByteSize, Effect, Layer, ManagedRuntime } from "effect"
import { Journal, layer as journalLayer } from "../src/Journal.ts"
import { TusRefusal } from "../src/Problem.ts"
import * as Transfers from "../src/Transfers.ts"
import type { ChecksumAlgorithm } from "../src/tus/HeaderValues.ts"
import type { Concatenate, Content, Create } from "../src/tus/Protocol.ts"
import type { QuotaLimits } from "../src/UploadQuota.ts"
import { type UploadRequest, Uploads, layer as uploadsLayer } from "../src/Uploads.ts"

export const sha256Of = (bytes: Uint8Array) => Sha256.make(createHash("sha256").update(bytes).digest("hex"))

export const checksumOf = (bytes: Uint8Array, algorithm: ChecksumAlgorithm = "sha1") => ({
  algorithm,
  digest: createHash(algorithm).update(bytes).digest()
})

export const sender = (id: string) => ({
  principal: { id: PrincipalId.make(id), role: "customer" as const },
  correlationId: CorrelationId.make("0190a1b2-c3d4-7000-8000-00000000000c"),
  traceparent: null
})

export const described = (name = "a.txt"): Pick<Create, "declared" | "metadata"> => ({
  metadata: { filename: name },
  declared: `filename ${Buffer.from(name).toString("base64")}`
})

const never = new AbortController().signal

export class UploadWorld {
  readonly folder = mkdtempSync(join(tmpdir(), "holdfast-uploads-"))
  readonly #runtimes: Array<{ dispose: () => Promise<void> }> = []

  get uploads(): string {
    return join(this.folder, "uploads")
  }

  /** The journal fails so often before it takes an entry. */
  async gateway(journalFailures = 0, limits?: QuotaLimits): Promise<Gateway> {
    const journal = Layer.effect(Journal, failing(journalFailures)).pipe(
      Layer.provide(journalLayer(join(this.folder, "journal")))
    )
    const layer = uploadsLayer(this.uploads, limits).pipe(
      Layer.provideMerge(
        Layer.mergeAll(
          journal,
          Transfers.layer(),
          BlobStoreDisk.layerIntake({ root: join(this.folder, "quarantine"), freeBytesMin: 0 })
        )
      )
    )
    const runtime = ManagedRuntime.make(Layer.provide(layer, Health.layer))
    this.#runtimes.push(runtime)
    return new Gateway(await runtime.runPromise(Uploads))
  }

  names(of: "uploads" | "journal" | "quarantine"): ReadonlyArray<string> {
    return readdirSync(join(this.folder, of), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name)
  }

  journal(): ReadonlyArray<{ readonly file: { readonly fileId: string; readonly sha256: string } }> {
    return this.names("journal").map((name) => JSON.parse(readFileSync(join(this.folder, "journal", name), "utf8")))
  }

  async end(): Promise<void> {
    for (const runtime of this.#runtimes) await runtime.dispose()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

const failing = (failures: number) =>
  Effect.gen(function* () {
    const journal = yield* Journal
    let left = failures
    return {
      ...journal,
      write: (entry: Parameters<typeof journal.write>[0]) =>
        Effect.suspend(() => (left-- > 0 ? Effect.die(new Error("the journal broke")) : journal.write(entry)))
    }
  })

export class Gateway {
  readonly #uploads: Uploads["Service"]
  constructor(uploads: Uploads["Service"]) {
    this.#uploads = uploads
  }

  ask(request: UploadRequest, body: Readable = Readable.from([]), who = "ada", over = never) {
    return this.#uploads.serve(sender(who), request, { body, over })
  }

  /** The status of the refusal; 200 when there was none. */
  async statusOf(request: UploadRequest, body?: Readable, who?: string): Promise<number> {
    try {
      await this.ask(request, body, who)
      return 200
    } catch (error) {
      if (error instanceof TusRefusal) return error.problem.status
      throw error
    }
  }

  async create(sizeBytes: number, given: { readonly isPart?: boolean; readonly who?: string } = {}): Promise<FileId> {
    const request = { type: "Create", sizeBytes, isPart: given.isPart ?? false, content: null, ...described() } as const
    const answer = await this.ask(request, undefined, given.who)
    return idOf(answer)
  }

  /** A part with all of its bytes. */
  async part(bytes: Buffer, who = "ada"): Promise<FileId> {
    const request: Create = {
      type: "Create",
      sizeBytes: bytes.length,
      isPart: true,
      content: { sizeBytes: bytes.length, checksum: null },
      metadata: {},
      declared: null
    }
    return idOf(await this.ask(request, Readable.from([bytes]), who))
  }

  append(id: FileId, offset: number, bytes: Buffer, checksum: Content["checksum"] = null) {
    return this.ask(appendOf(id, offset, bytes.length, checksum), chunked(bytes))
  }

  async offset(id: FileId): Promise<number> {
    const found = await this.ask({ type: "Look", id })
    return "offset" in found ? (found.offset ?? -1) : -1
  }

  sweep() {
    return Effect.runPromise(this.#uploads.sweep)
  }
}

const idOf = (answer: { readonly type: string }): FileId => {
  if (!("id" in answer) || typeof answer.id !== "string") throw new Error("nothing was created")
  return FileId.make(basename(answer.id))
}

export const appendOf = (id: FileId, offset: number, sizeBytes: number | null, checksum: Content["checksum"] = null) =>
  ({ type: "Append", id, offset, content: { sizeBytes, checksum } }) as const

export const wholeOf = (parts: Concatenate["parts"], name?: string): Concatenate => ({
  type: "Concatenate",
  parts,
  concat: `final;${parts.map((part) => `/files/${part}`).join(" ")}`,
  ...described(name)
})

/** As it comes from a socket. */
const chunked = (bytes: Buffer): Readable => {
  const pieces: Array<Buffer> = []
  for (let at = 0; at < bytes.length; at += 64 * 1024) pieces.push(bytes.subarray(at, at + 64 * 1024))
  return Readable.from(pieces, { objectMode: false })
}

/** Sends these bytes and then nothing more, until it is cut. */
export const unending = (bytes: Buffer): Readable => {
  let isSent = false
  return new Readable({
    read() {
      if (!isSent) this.push(bytes)
      isSent = true
    }
  })
}

export const mebibyte = ByteSize.toNumberUnsafe(ByteSize.mebibytes(1))
