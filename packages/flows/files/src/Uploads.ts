// Uploads that are under way: who owns them, whether there is room for another, and what happens when the last byte is in. Finishing adds
// the content to the quarantine, writes the journal entry, and only then lets the upload count as done; each step may run again, so a
// crash between any two ends the same. What was complete before a crash is finished at start, by the sweep, or when its owner asks.
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { type CorrelationId, FileId, type PrincipalId } from "@holdfast/contracts/Ids"
import type { Principal } from "@holdfast/contracts/Principal"
import { Files } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { Intake } from "@holdfast/storage/BlobStore"
import { ERRORS, type Upload } from "@tus/server"
import { Context, Duration, Effect, Layer, Result, Schema } from "effect"
import { uuidV7Unsafe } from "effect/crypto/SecureRandom"
import { refusalOfStorage } from "./DiskTrouble.ts"
import { Journal } from "./Journal.ts"
import { tusRefusal } from "./Problem.ts"
import { Transfers } from "./Transfers.ts"
import { UploadLocks } from "./UploadLocks.ts"
import { decodeFacts, readDeclared } from "./UploadMetadata.ts"
import { UploadStore } from "./UploadStore.ts"

/** Whose request it is, and the trace that it belongs to. */
export interface Sender {
  readonly principal: Principal
  readonly correlationId: CorrelationId
  readonly traceparent: string | null
}

export class Uploads extends Context.Service<
  Uploads,
  {
    readonly store: UploadStore
    readonly locks: UploadLocks
    newId(): FileId
    /** What is kept with a new upload; throws a refusal that the tus library answers with. */
    admit(sender: Sender, upload: Upload): Promise<Record<string, string | null>>
    /** Throws unless this is the sender's upload; finishes it when all of it is there. */
    resume(sender: Sender, id: string): Promise<void>
    finish(id: string): Promise<void>
    /** Finishes what a crash left complete, and removes what expired; how many of both. */
    readonly sweep: Effect.Effect<{ readonly finished: number; readonly removed: number }, Unavailable>
  }
>()("@holdfast/files/Uploads") {}

export const layer = (folder: string) => Layer.effect(Uploads, makeUploads(folder))

/** Started and not done. */
type OpenUploads = Map<string, { readonly ownerId: PrincipalId; readonly sizeBytes: number }>

const makeUploads = Effect.fnUntraced(function* (folder: string) {
  const intake = yield* Intake
  const journal = yield* Journal
  const transfers = yield* Transfers
  const runPromise = Effect.runPromiseWith(yield* Effect.context<never>())
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const locks = new UploadLocks(join(folder, "..", "locks"))
  const open: OpenUploads = new Map()
  const recount = Effect.promise(async () => {
    open.clear()
    await remember(store, open)
  })
  const store = new UploadStore({
    folder,
    pass: (ownerId, sizeBytes) => runPromise(transfers.pass(ownerId, sizeBytes)),
    onRemoved: (id) => open.delete(id)
  })
  const underWay = new Map<string, Promise<void>>()
  const finishOnce = async (id: string): Promise<void> => {
    await finish({ intake, journal, runPromise, store }, id)
    if (await store.isDone(id)) open.delete(id)
  }
  /** Two requests may find the same upload complete. */
  const finishShared = (id: string): Promise<void> => {
    const running = underWay.get(id) ?? finishOnce(id).finally(() => underWay.delete(id))
    underWay.set(id, running)
    return running
  }
  const service = Uploads.of({
    store,
    locks,
    newId: () => FileId.make(uuidV7Unsafe()),
    admit: (sender, upload) => runPromise(admit(intake, open, recount, sender, upload)),
    resume: async (sender, id) => {
      const upload = await store.describe(id)
      if (upload.metadata?.ownerId !== sender.principal.id) throw ERRORS.FILE_NOT_FOUND
      if (upload.offset === upload.size) await finishShared(id)
    },
    finish: finishShared,
    sweep: sweep(store, locks, open, finishShared)
  })
  yield* Effect.promise(() => remember(store, open))
  return service
})

const remember = async (store: UploadStore, open: OpenUploads): Promise<void> => {
  for (const id of await store.list()) {
    if (await store.isDone(id)) continue
    const upload = await store.describe(id).catch(() => undefined)
    const facts = decodeFacts(upload?.metadata)
    if (Result.isSuccess(facts)) open.set(id, { ownerId: facts.success.ownerId, sizeBytes: upload?.size ?? 0 })
  }
}

const admit = Effect.fn("Uploads.admit")(function* (
  intake: Intake["Service"],
  open: OpenUploads,
  recount: Effect.Effect<void>,
  { correlationId, principal, traceparent }: Sender,
  upload: Upload
) {
  const sizeBytes = upload.size ?? 0
  const declared = readDeclared(upload.metadata ?? {})
  if (Result.isFailure(declared)) {
    const { issues } = declared.failure
    const title = "The request is not valid; each issue names the field and what is wrong with it."
    return yield* tusRefusal({ status: 400, tag: "ValidationFailed", title, fields: { issues } })
  }
  // Some of them may have been finished by another gateway on this disk.
  if (isFull(open, principal.id)) yield* recount
  if (isFull(open, principal.id)) {
    const title = "Too many uploads are under way; finish or delete one, then try again."
    return yield* tusRefusal({ status: 429, tag: "TooManyUploads", title })
  }
  const promisedBytes = [...open.values()].reduce((sum, one) => sum + one.sizeBytes, sizeBytes)
  yield* Effect.mapError(intake.hasRoomFor(promisedBytes), (error) =>
    error.reason === "refused"
      ? tusRefusal({ status: 507, tag: "StorageFull", title: "There is no room for this upload just now." })
      : refusalOfStorage(error)
  )
  open.set(upload.id, { ownerId: principal.id, sizeBytes })
  const kept: Record<string, string | null> = {
    ...declared.success,
    ownerId: principal.id,
    correlationId,
    ...(traceparent === null ? {} : { traceparent })
  }
  return kept
})

const isFull = (open: OpenUploads, ownerId: PrincipalId): boolean => {
  const all = [...open.values()]
  const own = all.filter((one) => one.ownerId === ownerId).length
  return own >= Files.openUploadsPerPrincipalMax || all.length >= Files.openUploadsMax
}

interface Finishing {
  readonly intake: Intake["Service"]
  readonly journal: Journal["Service"]
  readonly store: UploadStore
  readonly runPromise: <A, E>(effect: Effect.Effect<A, E>) => Promise<A>
}

/** Another gateway may be finishing the same upload: each step may run twice, and whoever comes too late for one finds it done. */
const finish = async (finishing: Finishing, id: string): Promise<void> => {
  if (await finishing.store.isDone(id)) return
  try {
    await finishHere(finishing, id)
  } catch (error) {
    if (!(await finishing.store.isDone(id))) throw error
  }
}

const finishHere = async ({ intake, journal, runPromise, store }: Finishing, id: string): Promise<void> => {
  const upload = await store.getUpload(id)
  // A disk that failed meanwhile may have taken it back.
  if (upload.offset !== upload.size) return
  const facts = decodeFacts(upload.metadata)
  const fileId = decodeId(id)
  if (Result.isFailure(facts) || Result.isFailure(fileId)) throw ERRORS.FILE_NOT_FOUND
  const { correlationId, filename, filetype, ownerId, ticketId, traceparent } = facts.success
  const sha256 = await store.sha256Of(id, upload.offset)
  const file = {
    fileId: fileId.success,
    name: filename,
    sizeBytes: upload.offset,
    sha256,
    declaredType: filetype,
    ownerId,
    ...(ticketId === undefined ? {} : { ticketId })
  }
  const kept = intake
    .take(store.pathOf(id), sha256)
    .pipe(Effect.andThen(journal.write({ file, correlationId, traceparent: traceparent ?? null })))
  await runPromise(Effect.mapError(kept, (error) => (error._tag === "Unavailable" ? refusalOfStorage(error) : error)))
  await store.markDone(id)
}

const decodeId = Schema.decodeUnknownResult(FileId)

const sweep = (
  store: UploadStore,
  locks: UploadLocks,
  open: OpenUploads,
  finishShared: (id: string) => Promise<void>
) =>
  Effect.gen(function* () {
    let removed = yield* swept(async () =>
      store.removeStrays((await store.nowMs()) - Duration.toMillis(Files.uploadLifetime))
    )
    // A lock is as old as the first request of its upload.
    yield* swept(async () => locks.sweep((await store.nowMs()) - 2 * Duration.toMillis(Files.uploadLifetime)))
    const described = yield* swept(() => store.list())
    // One that was admitted and then could not be created holds no place for ever.
    const known = new Set<string>(described)
    for (const id of [...open.keys()]) if (!known.has(id)) open.delete(id)
    let finished = 0
    let failure: Unavailable | null = null
    for (const id of described) {
      // One that cannot be finished, as on a full disk, keeps nobody else from making room.
      const step = yield* Effect.result(swept(() => sweepOne(store, id, finishShared)))
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

const sweepOne = async (
  store: UploadStore,
  id: string,
  finishShared: (id: string) => Promise<void>
): Promise<"finished" | "removed" | "kept"> => {
  const upload = await store.describe(id).catch((error) => {
    if (error !== ERRORS.FILE_NOT_FOUND) throw error
    return undefined
  })
  if (upload === undefined) {
    await store.remove(id)
    return "removed"
  }
  const isDone = await store.isDone(id)
  if (!isDone && upload.offset === upload.size) {
    await finishShared(id)
    return "finished"
  }
  if ((await store.idleMs(id)) < Duration.toMillis(Files.uploadLifetime)) return "kept"
  await store.remove(id)
  return "removed"
}
