// Uploads that are under way: who owns them, and each request for one, done under its lock. An upload belongs to whoever began it; for
// anybody else it does not exist. What was complete before a crash is finished at start, by the sweep, or when its owner asks. A request runs
// to its end also when its sender is gone: what arrived is kept.
import { createHash } from "node:crypto"
import { mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import type { Readable } from "node:stream"
import { type CorrelationId, FileId, PrincipalId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { Files } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Intake } from "@holdfast/storage/BlobStore"
import { Context, Duration, Effect, Layer, Result } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { Admission } from "./Admission.ts"
import { concatenate, idOfWhole, partsOf } from "./Concatenation.ts"
import { refusalOfDisk } from "./DiskTrouble.ts"
import { type Finishing, finish } from "./Finishing.ts"
import { Journal } from "./Journal.ts"
import { type Problem, tusRefusal } from "./Problem.ts"
import type { Charge } from "./QuotaLedger.ts"
import { Transfers } from "./Transfers.ts"
import type { TusAnswer } from "./tus/Answer.ts"
import {
  type Append,
  beyondLength,
  type Concatenate,
  type Content,
  type Create,
  type Described,
  notFound,
  type TusRequest,
  tooLarge,
  uploadBytesMax
} from "./tus/Protocol.ts"
import { UploadLocks } from "./UploadLocks.ts"
import { readDeclared } from "./UploadMetadata.ts"
import { received } from "./UploadMetrics.ts"
import { type QuotaLimits, quotaDefault, UploadQuota } from "./UploadQuota.ts"
import { ownerOf, type UploadRecord, UploadRecords } from "./UploadRecords.ts"
import { expired, isComplete, mismatch, type Upload, UploadStore } from "./UploadStore.ts"

/** Whose request it is, and the trace that it belongs to. */
export interface Sender {
  readonly principal: Principal
  readonly correlationId: CorrelationId
  readonly traceparent: string | null
}

export type UploadRequest = Exclude<TusRequest, { readonly type: "Announce" }>

/** The request's bytes, and whether it is over before it was answered. */
export interface Incoming {
  readonly body: Readable
  readonly over: AbortSignal
}

export class Uploads extends Context.Service<
  Uploads,
  {
    /** Rejects with a `TusRefusal`, or with what the disk said. */
    serve(sender: Sender, request: UploadRequest, incoming: Incoming): Promise<TusAnswer>
    /** Finishes what a crash left complete, and removes what expired; how many of both. */
    readonly sweep: Effect.Effect<{ readonly finished: number; readonly removed: number }, Unavailable>
  }
>()("@holdfast/files/Uploads") {}

export const layer = (folder: string, limits: QuotaLimits = quotaDefault) =>
  Layer.effect(
    Uploads,
    Effect.gen(function* () {
      const intake = yield* Intake
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      const runPromise = Effect.runPromiseWith(yield* Effect.context<never>())
      const places = { admission: new Admission(intake), quota: quotaOf(folder, limits) }
      const store = new UploadStore({ folder, onRemoved: (id) => leave(places, runPromise, id) })
      const finishing = { intake, journal: yield* Journal, store, runPromise }
      const desk = new UploadDesk(finishing, places, new UploadLocks(join(dirname(folder), "locks")), yield* Transfers)
      yield* Effect.promise(() => places.admission.recount(store))
      yield* rememberCharges(places.quota, folder)
      return {
        serve: (sender, request, incoming) => desk.serve(sender, request, incoming),
        sweep: sweep(desk)
      }
    })
  )

interface Places {
  readonly admission: Admission
  readonly quota: UploadQuota
}

const quotaOf = (folder: string, limits: QuotaLimits) =>
  new UploadQuota({ folder: join(dirname(folder), "quota"), limits, describe: () => chargesIn(folder) })

/** An upload is gone. What cannot be given back just now is found by the sweep. */
const leave = ({ admission, quota }: Places, runPromise: Finishing["runPromise"], id: FileId): void => {
  admission.giveBack(id)
  quota
    .giveBack(id)
    .catch((error) => runPromise(Effect.logWarning(`the bytes of upload ${id} are not given back yet`, error)))
}

/** A power cut may have taken some of them. A disk that is away at start is no reason not to start. */
const rememberCharges = (quota: UploadQuota, folder: string) =>
  Effect.ignore(
    Effect.tryPromise(async () => quota.remember(await chargesIn(folder))),
    { log: true }
  )

/** What the uploads that are described here are charged with. */
const chargesIn = async (folder: string): Promise<ReadonlyArray<Charge>> => {
  const records = new UploadRecords(folder)
  const ids = await records.list()
  const charges: Array<Charge> = []
  for (let from = 0; from < ids.length; from += readAtOnceMax) {
    const found = await Promise.all(ids.slice(from, from + readAtOnceMax).map((id) => records.get(id)))
    charges.push(...found.flatMap((record) => (record === undefined ? [] : [chargeOf(record)])))
  }
  return charges
}

/** Descriptions. */
const readAtOnceMax = 16

const chargeOf = (record: UploadRecord): Charge => ({
  id: record.id,
  ownerId: ownerOf(record) ?? "nobody",
  sizeBytes: record.size,
  atMs: Date.parse(record.creation_date)
})

class UploadDesk {
  readonly store: UploadStore
  readonly admission: Admission
  readonly quota: UploadQuota
  readonly locks: UploadLocks
  readonly #finishing: Finishing
  readonly #transfers: Transfers["Service"]
  readonly #finishes = new Map<FileId, Promise<void>>()
  readonly #wholes = new Map<FileId, Promise<void>>()

  constructor(finishing: Finishing, places: Places, locks: UploadLocks, transfers: Transfers["Service"]) {
    this.store = finishing.store
    this.admission = places.admission
    this.quota = places.quota
    this.locks = locks
    this.#finishing = finishing
    this.#transfers = transfers
  }

  serve(sender: Sender, request: UploadRequest, incoming: Incoming): Promise<TusAnswer> {
    switch (request.type) {
      case "Create":
        return this.#create(sender, request, incoming)
      case "Concatenate":
        return this.#concatenate(sender, request, incoming)
      case "Append":
        return this.#append(sender, request, incoming)
      case "Look":
        return this.#look(sender, request.id, incoming)
      case "Terminate":
        return this.#terminate(sender, request.id, incoming)
    }
  }

  async #create(sender: Sender, request: Create, incoming: Incoming): Promise<TusAnswer> {
    const id = FileId.make(uuidV7Unsafe())
    const record = recordOf(id, request.sizeBytes, sender, request, request.isPart)
    const { admission, store } = this
    await this.#finishing.runPromise(admission.admit(store, id, sender.principal.id, request.sizeBytes))
    await this.#charge(id, sender.principal.id, request.sizeBytes)
    const { content } = request
    await store.create(record)
    let upload: Upload = { record, offset: 0 }
    if (content !== null && !isNothing(content)) {
      upload = await this.#locked(id, incoming.over, (stop) =>
        this.#receive(upload, content, incoming.body, stop)
      ).catch(async (error) => {
        // Nobody was told of it.
        await store.remove(id)
        throw error
      })
    }
    await this.#finishWhole(upload)
    return { type: "Created", id, offset: content === null ? null : upload.offset, expiresAtMs: expiryOf(upload) }
  }

  async #charge(id: FileId, ownerId: string, sizeBytes: number, parts: ReadonlyArray<FileId> = []): Promise<void> {
    try {
      await this.quota.take(id, ownerId, sizeBytes, parts)
    } catch (error) {
      this.admission.giveBack(id)
      throw refusalOfDisk(error)
    }
  }

  async #append(sender: Sender, { content, id, offset }: Append, { body, over }: Incoming): Promise<TusAnswer> {
    const { record } = await this.#own(sender, id)
    if (record.concat !== undefined) throw tusRefusal(madeOfParts)
    const upload = await this.#locked(id, over, async (stop) => {
      const there = await this.#alive(id)
      if (there.offset !== offset) throw tusRefusal(otherOffset(there.offset))
      if (isNothing(content)) return there
      if (isComplete(there) || (content.sizeBytes ?? 0) > record.size - offset) throw tusRefusal(beyondLength)
      return this.#receive(there, content, body, stop)
    })
    await this.#finishWhole(upload)
    return { type: "Appended", offset: upload.offset, expiresAtMs: expiryOf(upload) }
  }

  async #receive(upload: Upload, { checksum }: Content, body: Readable, stop: AbortSignal): Promise<Upload> {
    const ownerId = PrincipalId.make(ownerOf(upload.record) ?? "")
    const pass = (sizeBytes: number) =>
      this.#finishing.runPromise(Effect.andThen(received(sizeBytes), this.#transfers.pass(ownerId, sizeBytes)))
    const { pieceBytes } = this.#transfers
    const offset = await this.store.append(upload, { body, checksum, pass, pieceBytes, stop })
    return { record: upload.record, offset }
  }

  async #look(sender: Sender, id: FileId, { over }: Incoming): Promise<TusAnswer> {
    await this.#own(sender, id)
    const { offset, record } = await this.#locked(id, over, () => this.#alive(id))
    const concat = record.part === undefined ? (record.concat ?? null) : "partial"
    return { type: "Found", offset, sizeBytes: record.size, declared: record.declared ?? null, concat }
  }

  async #terminate(sender: Sender, id: FileId, { over }: Incoming): Promise<TusAnswer> {
    await this.#own(sender, id)
    await this.#locked(id, over, async () => {
      const upload = await this.store.settled(id)
      if (upload === undefined) throw tusRefusal(notFound)
      if (isComplete(upload) && upload.record.part === undefined) throw tusRefusal(completed)
      await this.store.remove(id)
    })
    return { type: "Terminated" }
  }

  async #concatenate(sender: Sender, request: Concatenate, { over }: Incoming): Promise<TusAnswer> {
    const id = idOfWhole(sender.principal.id, request)
    await shared(this.#wholes, id, () => this.#locked(id, over, () => this.#makeWhole(id, sender, request, over)))
    return { type: "Created", id, offset: null, expiresAtMs: null }
  }

  async #makeWhole(id: FileId, sender: Sender, request: Concatenate, over: AbortSignal): Promise<void> {
    const { admission, store } = this
    if ((await store.find(id)) === undefined) {
      const parts = await partsOf(store, sender.principal.id, request)
      const sizeBytes = parts.reduce((sum, { record }) => sum + record.size, 0)
      if (sizeBytes > uploadBytesMax) throw tusRefusal(tooLarge)
      const record = { ...recordOf(id, sizeBytes, sender, request, false), concat: request.concat }
      await this.#finishing.runPromise(admission.admitBytes(sizeBytes))
      await this.#charge(id, sender.principal.id, sizeBytes, request.parts)
      await concatenate(store, parts, record).catch(async (error) => {
        await this.quota.putBack(
          id,
          parts.map((part) => chargeOf(part.record))
        )
        throw error
      })
    }
    await this.finishShared(id)
    if (await store.isDone(id)) await this.#dropParts(request, over)
  }

  /** One that stays expires by itself. */
  async #dropParts({ parts }: Concatenate, over: AbortSignal): Promise<void> {
    for (const id of new Set(parts)) {
      const dropped = this.#locked(id, over, () => this.store.remove(id))
      await dropped.catch(() =>
        this.#finishing.runPromise(Effect.logWarning(`part ${id} of an upload is used and stays`))
      )
    }
  }

  /** Throws unless this is the sender's upload; finishes it when all of it is there. */
  async #own(sender: Sender, id: FileId): Promise<Upload> {
    const upload = await this.store.find(id)
    if (upload === undefined || ownerOf(upload.record) !== sender.principal.id) throw tusRefusal(notFound)
    await this.#finishWhole(upload)
    return upload
  }

  async #alive(id: FileId): Promise<Upload> {
    const upload = await this.store.settled(id)
    if (upload === undefined) throw tusRefusal(notFound)
    if ((await this.store.idleMs(id)) > lifetimeMs) throw tusRefusal(expired)
    return upload
  }

  async #finishWhole(upload: Upload): Promise<void> {
    if (upload.record.part === undefined && isComplete(upload)) await this.finishShared(upload.record.id)
  }

  /** Two requests may find the same upload complete. */
  finishShared(id: FileId): Promise<void> {
    return shared(this.#finishes, id, async () => {
      await finish(this.#finishing, id)
      if (await this.store.isDone(id)) this.admission.giveBack(id)
    })
  }

  async #locked<A>(id: FileId, over: AbortSignal, run: (stop: AbortSignal) => Promise<A>): Promise<A> {
    const lock = this.locks.newLock(id)
    const stop = new AbortController()
    let grace: NodeJS.Timeout | undefined
    const letGo = () => {
      grace ??= setTimeout(() => stop.abort(), Duration.toMillis(Files.lockGraceDelay)).unref()
    }
    await lock.lock(over, letGo)
    try {
      return await run(stop.signal)
    } finally {
      clearTimeout(grace)
      await lock.unlock()
    }
  }
}

const shared = <A>(running: Map<FileId, Promise<A>>, id: FileId, run: () => Promise<A>): Promise<A> => {
  const underWay = running.get(id) ?? run().finally(() => running.delete(id))
  running.set(id, underWay)
  return underWay
}

/** Throws when no bytes are not what was announced. */
const isNothing = ({ checksum, sizeBytes }: Content): boolean => {
  if (sizeBytes !== 0) return false
  if (checksum !== null && !createHash(checksum.algorithm).digest().equals(checksum.digest)) throw tusRefusal(mismatch)
  return true
}

const lifetimeMs = Duration.toMillis(Files.uploadLifetime)

/** Null when it is done: then it is kept by others. */
const expiryOf = (upload: Upload): number | null =>
  isComplete(upload) && upload.record.part === undefined ? null : Date.now() + lifetimeMs

/** Throws what is wrong with what the sender says of a file; a part needs to be none. */
const recordOf = (
  id: FileId,
  size: number,
  { correlationId, principal, traceparent }: Sender,
  { declared, metadata }: Described,
  isPart: boolean
): UploadRecord => {
  const kept = { id, size, creation_date: new Date().toISOString(), ...(declared === null ? {} : { declared }) }
  if (isPart) return { ...kept, metadata: {}, part: { ownerId: principal.id } }
  const facts = readDeclared(metadata)
  if (Result.isFailure(facts)) throw tusRefusal(notValid(facts.failure.issues))
  const traced = traceparent === null ? {} : { traceparent }
  return { ...kept, metadata: { ...facts.success, ownerId: principal.id, correlationId, ...traced } }
}

const notValid = (issues: ReadonlyArray<unknown>): Problem => ({
  status: 400,
  tag: "ValidationFailed",
  title: "The request is not valid; each issue names the field and what is wrong with it.",
  fields: { issues }
})
const madeOfParts: Problem = {
  status: 403,
  tag: "UploadRequestNotValid",
  title: "The upload was made of parts and is complete; nothing can be added to it."
}
const completed: Problem = {
  status: 400,
  tag: "UploadRequestNotValid",
  title: "The upload is complete and cannot be taken back; remove the file from its ticket."
}
const otherOffset = (offset: number): Problem => ({
  status: 409,
  tag: "UploadOffsetConflict",
  title: `The header Upload-Offset needs to be ${offset}, where the upload is; ask for the offset and resume.`,
  headers: { "upload-offset": String(offset) },
  fields: { header: "Upload-Offset", offset }
})

const sweep = (desk: UploadDesk) =>
  Effect.gen(function* () {
    const { admission, locks, quota, store } = desk
    let removed = yield* swept(async () => store.removeStrays((await store.nowMs()) - lifetimeMs))
    // A lock is as old as the first request of its upload.
    yield* swept(async () => locks.sweep((await store.nowMs()) - 2 * lifetimeMs))
    const described = yield* swept(() => store.list())
    admission.keepOnly(described)
    yield* swept(() => quota.sweep(new Set(described)))
    let finished = 0
    let failure: Unavailable | null = null
    for (const id of described) {
      // One that cannot be finished, as on a full disk, keeps nobody else from making room.
      const step = yield* Effect.result(swept(() => sweepOne(desk, id)))
      if (Result.isFailure(step)) failure = step.failure
      else if (step.success === "finished") finished++
      else if (step.success === "removed") removed++
    }
    if (failure !== null) return yield* failure
    return { finished, removed }
  })

const swept = <A>(step: () => Promise<A>): Effect.Effect<A, Unavailable> =>
  Effect.tryPromise({
    try: step,
    catch: () =>
      new Unavailable({
        dependency: "storage",
        reason: "connection_lost",
        retryAfterMs: Duration.toMillis(Files.sweepInterval),
        detail: "an upload could not be swept; the disk may be full"
      })
  })

const sweepOne = async (desk: UploadDesk, id: FileId): Promise<"finished" | "removed" | "kept"> => {
  const { store } = desk
  const upload = await store.find(id)
  if (upload === undefined) {
    await store.remove(id)
    return "removed"
  }
  if (isComplete(upload) && upload.record.part === undefined && !(await store.isDone(id))) {
    await desk.finishShared(id)
    return "finished"
  }
  if ((await store.idleMs(id)) < lifetimeMs) return "kept"
  await store.remove(id)
  return "removed"
}
