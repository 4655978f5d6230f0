// Released content in a bucket of a server that speaks S3, for several machines. An object is named `<first two digits>/<sha256>` and
// appears whole or not at all: small content in one request, large content in parts that become an object only when all of them are there and
// the hash is right. Each request has a deadline and goes through one breaker; a refusal by the server that it is up for passes the breaker.
// Parts of a write that a crash cut stay invisible, and the bucket's own rule for incomplete uploads removes them.
import { createHash, randomUUID } from "node:crypto"
import { Sha256 } from "@holdfast/contracts/Ids"
import { type Guard, makeGuard } from "@holdfast/resilience/Guard"
import { ObjectStorage, Storage } from "@holdfast/resilience/Limits"
import { Unavailable } from "@holdfast/resilience/Unavailable"
import { ByteSize, Context, Duration, Effect, Layer, Option, Schema, Stream } from "effect"
import { BlobCorrupt, BlobNotFound, type BlobStore, type ByteRange, Released, Withdrawn } from "./BlobStore.ts"
import { type Damage, makeDamage } from "./Damage.ts"
import {
  type Answer,
  element,
  elements,
  lostOr,
  makeS3Client,
  type S3Client,
  S3Lost,
  type S3Options,
  S3Refused
} from "./S3Client.ts"
import { beingRemoved, Shelf } from "./Unneeded.ts"

/** Also as its sweep sees it, and which files were withdrawn. */
export const layerReleased = (options: S3Options) =>
  Layer.effectContext(
    Effect.map(makeBucket(options), (bucket) =>
      Context.make(Released, storeOf(bucket)).pipe(
        Context.add(Shelf, shelfOf(bucket)),
        Context.add(Withdrawn, withdrawnOf(bucket))
      )
    )
  )

interface Bucket {
  readonly options: S3Options
  readonly client: S3Client
  readonly call: Call
  readonly damage: Damage
}

/** The guard's call; what the server refuses passes it as such. */
type Call = <A>(
  self: Effect.Effect<A, S3Lost | S3Refused>,
  deadline?: Duration.Duration
) => Effect.Effect<A, Unavailable>

const dependency = "object-storage"

const makeBucket = Effect.fnUntraced(function* (options: S3Options) {
  const client = makeS3Client(options)
  const guard = yield* makeGuard({
    dependency,
    deadline: ObjectStorage.operationDeadline,
    concurrencyMax: ObjectStorage.operationsAtOnceMax,
    acquireDeadline: ObjectStorage.acquireDeadline,
    probe: client.ask(listing(options, "", 1)),
    toFailure: failureOf
  })
  const bucket: Bucket = { options, client, call: callOf(guard), damage: yield* makeDamage(dependency) }
  return bucket
})

const failureOf = (error: unknown) => {
  if (error instanceof S3Lost) {
    const reason = error.neverSent ? "unreachable" : "connection_lost"
    return { reason, detail: `the connection to object storage failed: ${error.code}` } as const
  }
  if (error instanceof S3Refused && (error.status >= 500 || error.status === 429)) {
    return { reason: "refused", detail: answered(error) } as const
  }
  return null
}

const callOf =
  (guard: Guard): Call =>
  (self, deadline) =>
    Effect.mapError(guard.call(self, deadline === undefined ? undefined : { deadline }), (error) =>
      error._tag === "Unavailable" ? error : refused(error)
    )

const answered = ({ code, status }: S3Refused) => `object storage answered ${status}${code === "" ? "" : ` ${code}`}`

const refused = (error: S3Refused | S3Lost): Unavailable =>
  new Unavailable({
    dependency,
    reason: "refused",
    retryAfterMs: Duration.toMillis(ObjectStorage.retryDelay),
    detail: error._tag === "S3Refused" ? answered(error) : error.code
  })

const storeOf = (bucket: Bucket): BlobStore => ({
  put: (sha256, content) => put(bucket, sha256, content),
  read: (sha256, range) => read(bucket, sha256, range),
  sizeBytes: (sha256) =>
    Effect.flatMap(sizeOf(bucket, sha256), (size) =>
      size === null ? Effect.fail(new BlobNotFound({ key: sha256 })) : Effect.succeed(size)
    ),
  remove: (sha256) => remove(bucket, nameOf(sha256))
})

const nameOf = (sha256: Sha256): string => `${sha256.slice(0, 2)}/${sha256}`

/** Null where there is no such object. An answer to HEAD has no code that would tell a missing bucket: then the listing does. */
const sizeOf = ({ call, client, options }: Bucket, sha256: Sha256): Effect.Effect<number | null, Unavailable> =>
  call(
    client.ask({ method: "HEAD", name: nameOf(sha256) }).pipe(
      Effect.map(({ headers }) => Number(headers.get("content-length"))),
      Effect.catchIf(isMissing, () => Effect.as(client.ask(listing(options, nameOf(sha256), 1)), null))
    )
  )

const isMissing = (error: S3Lost | S3Refused): error is S3Refused =>
  error._tag === "S3Refused" && error.status === 404 && error.code !== "NoSuchBucket"

const remove = ({ call, client }: Bucket, name: string): Effect.Effect<void, Unavailable> =>
  call(
    client.ask({ method: "DELETE", name }).pipe(
      Effect.asVoid,
      Effect.catchIf(isMissing, () => Effect.void)
    )
  )

const put = Effect.fn("BlobStore.put")(function* (
  bucket: Bucket,
  sha256: Sha256,
  content: Stream.Stream<Uint8Array, Unavailable>
) {
  // Before anything else: see `Unneeded.ts`.
  const [mark] = yield* marksOf(bucket, `${sha256}.`, 1)
  if (mark !== undefined) return yield* beingRemoved(dependency)
  if (!bucket.damage.isKnown(sha256) && (yield* sizeOf(bucket, sha256)) !== null) return
  yield* write(bucket, sha256, content)
  yield* bucket.damage.mended(sha256)
})

/** Content that fits one part is one request. */
const write = Effect.fnUntraced(function* (
  bucket: Bucket,
  sha256: Sha256,
  content: Stream.Stream<Uint8Array, Unavailable>
) {
  const hash = createHash("sha256")
  const partBytes = ByteSize.toNumberUnsafe(ObjectStorage.partBytes)
  let pending = new Parcel(partBytes)
  let upload: Upload | null = null
  const send = Stream.runForEach(content, (chunk) =>
    Effect.gen(function* () {
      hash.update(chunk)
      for (let rest = chunk; rest.length > 0; ) {
        if (pending.isFull) {
          upload ??= yield* begin(bucket, sha256)
          yield* sendPart(bucket, upload, pending.bytes)
          pending = new Parcel(partBytes)
        }
        rest = pending.add(rest)
      }
    })
  )
  const finish = Effect.gen(function* () {
    if (hash.digest("hex") !== sha256) return yield* new BlobCorrupt({ key: sha256 })
    if (upload === null) return yield* putWhole(bucket, sha256, pending.bytes)
    yield* sendPart(bucket, upload, pending.bytes)
    yield* complete(bucket, upload)
    upload = null
  })
  yield* Effect.andThen(send, finish).pipe(
    Effect.ensuring(Effect.suspend(() => (upload === null ? Effect.void : abort(bucket, upload))))
  )
})

/** Bytes gathered for one request. */
class Parcel {
  readonly #room: Uint8Array<ArrayBuffer>
  #length = 0
  constructor(sizeBytesMax: number) {
    this.#room = new Uint8Array(sizeBytesMax)
  }

  get isFull(): boolean {
    return this.#length === this.#room.length
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#room.subarray(0, this.#length)
  }

  /** What did not fit. */
  add(chunk: Uint8Array): Uint8Array {
    const fitting = chunk.subarray(0, this.#room.length - this.#length)
    this.#room.set(fitting, this.#length)
    this.#length += fitting.length
    return chunk.subarray(fitting.length)
  }
}

const putWhole = ({ call, client }: Bucket, sha256: Sha256, body: Uint8Array<ArrayBuffer>) =>
  call(
    Effect.asVoid(client.ask({ method: "PUT", name: nameOf(sha256), headers: unguessed, body, sha256 })),
    ObjectStorage.partDeadline
  )

/** Should somebody open the bucket to the world, its content is still not run. */
const unguessed = { "content-type": "application/octet-stream" }

interface Upload {
  readonly name: string
  readonly uploadId: string
  readonly etags: Array<string>
}

const begin = ({ call, client }: Bucket, sha256: Sha256) =>
  call(
    Effect.flatMap(
      client.ask({ method: "POST", name: nameOf(sha256), query: { uploads: "" }, headers: unguessed }),
      ({ text }) => {
        const uploadId = element(text, "UploadId")
        const upload: Upload = { name: nameOf(sha256), uploadId: uploadId ?? "", etags: [] }
        return uploadId === undefined ? Effect.fail(unexpected) : Effect.succeed(upload)
      }
    )
  )

/** An answer that is none. */
const unexpected = new S3Refused({ status: 200, code: "with something else than S3 says" })

const sendPart = ({ call, client }: Bucket, { etags, name, uploadId }: Upload, body: Uint8Array<ArrayBuffer>) => {
  const sha256 = Sha256.make(createHash("sha256").update(body).digest("hex"))
  const query = { partNumber: String(etags.length + 1), uploadId }
  return call(
    Effect.flatMap(client.ask({ method: "PUT", name, query, body, sha256 }), ({ headers }) => {
      const etag = headers.get("etag")
      if (etag === null) return Effect.fail(unexpected)
      return Effect.sync(() => void etags.push(etag))
    }),
    ObjectStorage.partDeadline
  )
}

/** S3 may begin with 200 and then still fail: the answer's text tells. */
const complete = ({ call, client }: Bucket, { etags, name, uploadId }: Upload) => {
  const parts = etags.map(
    (etag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${escaped(etag)}</ETag></Part>`
  )
  const body = new TextEncoder().encode(`<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`)
  const sha256 = Sha256.make(createHash("sha256").update(body).digest("hex"))
  return call(
    Effect.flatMap(client.ask({ method: "POST", name, query: { uploadId }, body, sha256 }), ({ text }) =>
      text.includes("<CompleteMultipartUploadResult")
        ? Effect.void
        : Effect.fail(new S3Refused({ status: 500, code: element(text, "Code") ?? "" }))
    ),
    ObjectStorage.partDeadline
  )
}

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;")

const abort = ({ call, client }: Bucket, { name, uploadId }: Upload) =>
  Effect.ignore(call(client.ask({ method: "DELETE", name, query: { uploadId } })), { log: true })

const read = (bucket: Bucket, sha256: Sha256, range?: ByteRange) => {
  if (range === undefined) return bucket.damage.checked(sha256, contentOf(bucket, sha256))
  if (bucket.damage.isKnown(sha256)) return Stream.fail(new BlobCorrupt({ key: sha256 }))
  return contentOf(bucket, sha256, range)
}

const contentOf = (bucket: Bucket, sha256: Sha256, range?: ByteRange) =>
  Stream.unwrap(
    Effect.gen(function* () {
      const { call } = bucket
      const { isThere, reader } = yield* Effect.acquireRelease(call(open(bucket, sha256, range)), (held) =>
        // A reader that is not needed any more ends the transfer, not only the reading.
        Effect.ignore(lostOr(async () => held.reader?.cancel()))
      )
      if (!isThere) return yield* new BlobNotFound({ key: sha256 })
      return reader === null ? Stream.empty : chunksOf(bucket, reader)
    })
  )

const open = ({ client }: Bucket, sha256: Sha256, range?: ByteRange) => {
  const headers = range === undefined ? {} : { range: `bytes=${range.start}-${range.end}` }
  return client.send({ method: "GET", name: nameOf(sha256), headers }).pipe(
    Effect.flatMap((response) => (isAsAsked(response, range) ? Effect.succeed(response.body) : ignored(response))),
    Effect.map((body) => ({ isThere: true, reader: body?.getReader() ?? null })),
    Effect.catchIf(isBeyondEnd, () => Effect.succeed({ isThere: true, reader: null })),
    Effect.catchIf(isMissing, () => Effect.succeed({ isThere: false, reader: null }))
  )
}

/** A server that does not know ranges, or something in between, gives the whole: that is not the part, wherever it begins. */
const isAsAsked = ({ headers, status }: Response, range: ByteRange | undefined): boolean =>
  range === undefined
    ? status === 200
    : status === 206 && headers.get("content-range")?.startsWith(`bytes ${range.start}-`) === true

const ignored = ({ body }: Response) =>
  Effect.andThen(
    lostOr(async () => body?.cancel()),
    Effect.fail(unexpected)
  )

const isBeyondEnd = (error: S3Lost | S3Refused): error is S3Refused =>
  error._tag === "S3Refused" && error.status === 416

const chunksOf = ({ call }: Bucket, reader: ReadableStreamDefaultReader<Uint8Array>) =>
  Stream.unfold(undefined, () =>
    Effect.map(
      call(
        lostOr(() => reader.read()),
        ObjectStorage.readDeadline
      ),
      ({ done, value }) => (done ? undefined : ([value, undefined] as const))
    )
  )

const shelfOf = (bucket: Bucket): Shelf["Service"] => ({
  list: (folder) => Stream.map(list(bucket, `${folder}/`), (page) => page.flatMap(asContent)),
  mark: (sha256) => {
    const name = `${removals}${sha256}.${randomUUID()}`
    const body = new Uint8Array(0)
    return Effect.as(bucket.call(bucket.client.ask({ method: "PUT", name, body })), remove(bucket, name))
  },
  remove: (sha256) => remove(bucket, nameOf(sha256)),
  clean: Effect.gen(function* () {
    const marks = yield* marksOf(bucket, "", ObjectStorage.listPageMax)
    const old = marks.filter(({ ageMs }) => ageMs >= Duration.toMillis(Storage.markLifetime))
    yield* Effect.forEach(old, ({ name }) => remove(bucket, name), { discard: true })
    return old.length
  })
})

const removals = "removing/"

/** One empty object for each. That the bucket is there at all is found out by whoever asks for the content. */
const withdrawnOf = ({ call, client }: Bucket): Withdrawn["Service"] => ({
  add: Effect.fn("Withdrawn.add")((fileId) =>
    call(Effect.asVoid(client.ask({ method: "PUT", name: `${withdrawals}${fileId}`, body: new Uint8Array(0) })))
  ),
  has: (fileId) =>
    call(
      client.ask({ method: "HEAD", name: `${withdrawals}${fileId}` }).pipe(
        Effect.as(true),
        Effect.catchIf(isMissing, () => Effect.succeed(false))
      )
    )
})

const withdrawals = "withdrawn/"

const marksOf = ({ call, client, options }: Bucket, prefix: string, countMax: number) =>
  Effect.map(call(client.ask(listing(options, `${removals}${prefix}`, countMax))), (answer) => pageOf(options, answer))

interface Listed {
  readonly name: string
  readonly sizeBytes: number
  readonly ageMs: number
}

const isSha256 = Schema.is(Sha256)

const asContent = ({ ageMs, name, sizeBytes }: Listed) => {
  const sha256 = name.slice(3)
  return isSha256(sha256) ? [{ sha256, sizeBytes, ageMs }] : []
}

const list = ({ call, client, options }: Bucket, prefix: string) =>
  Stream.paginate("", (token: string) =>
    Effect.map(call(client.ask(listing(options, prefix, ObjectStorage.listPageMax, token))), (answer) => {
      const next =
        element(answer.text, "IsTruncated") === "true" ? element(answer.text, "NextContinuationToken") : undefined
      return [[pageOf(options, answer)], Option.fromUndefinedOr(next)] as const
    })
  )

const listing = (options: S3Options, prefix: string, countMax: number, token = "") => ({
  method: "GET" as const,
  name: "",
  query: {
    "list-type": "2",
    prefix: `${options.prefix}${prefix}`,
    "max-keys": String(countMax),
    ...(token === "" ? {} : { "continuation-token": token })
  }
})

/** Ages by the server's own clock. */
const pageOf = (options: S3Options, { headers, text }: Answer): ReadonlyArray<Listed> => {
  const nowMs = Date.parse(headers.get("date") ?? "")
  return elements(text, "Contents").flatMap((entry) => {
    const key = element(entry, "Key") ?? ""
    const ageMs = nowMs - Date.parse(element(entry, "LastModified") ?? "")
    const sizeBytes = Number(element(entry, "Size"))
    return key.startsWith(options.prefix) ? [{ name: key.slice(options.prefix.length), sizeBytes, ageMs }] : []
  })
}
