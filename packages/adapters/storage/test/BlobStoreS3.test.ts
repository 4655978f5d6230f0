// What the layer on object storage promises beyond the contract: refusals told from absence, a bound on waiting, nothing left of writes that were cut.
import { readdir, readFile, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { describe, expect, it } from "@effect/vitest"
import { Health } from "@holdfast/resilience/Health"
import { ObjectStorage } from "@holdfast/resilience/Limits"
import { Context, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Quarantine, Released } from "../src/BlobStore.ts"
import { layerReleased } from "../src/BlobStoreS3.ts"
import type { S3Options } from "../src/S3Client.ts"
import { Shelf } from "../src/Unneeded.ts"
import { contract, Harm, releasedContract, sha256Of, text } from "./BlobStoreContract.ts"
import { type S3Server, startS3Server } from "./S3Server.ts"

/** The server keeps an object's bytes in a file of its own. */
const harmOf =
  ({ directory }: S3Server): Harm["Service"] =>
  (sha256) =>
    Effect.promise(async () => {
      for (const name of await readdir(directory, { recursive: true })) {
        if (!name.includes(sha256) || !name.endsWith("object")) continue
        const stored = await readFile(join(directory, name))
        stored.writeUInt8((stored[0] ?? 0) ^ 1, 0)
        await writeFile(join(directory, name), stored)
      }
    })

const storeAt = (options: S3Options) =>
  Effect.map(Layer.build(Layer.provide(layerReleased(options), Health.layer)), (services) =>
    Context.get(services, Released)
  )

contract(
  "S3",
  Layer.effect(
    Quarantine,
    Effect.flatMap(startS3Server(), ({ options }) => storeAt(options))
  )
)

releasedContract(
  "S3",
  Layer.unwrap(
    Effect.map(startS3Server(), (server) =>
      Layer.merge(layerReleased(server.options), Layer.succeed(Harm, harmOf(server)))
    )
  ).pipe(Layer.provideMerge(Health.layer))
)

const bytes = text("some content")
const key = sha256Of(bytes)

describe("object storage", () => {
  it.live("that is gone is unavailable, and answers again once it is back", () =>
    Effect.gen(function* () {
      const server = yield* startS3Server()
      const store = yield* storeAt(server.options)
      yield* store.put(key, Stream.make(bytes))
      yield* server.kill
      const error = yield* Effect.flip(store.sizeBytes(key))
      expect(error).toMatchObject({ _tag: "Unavailable", dependency: "object-storage", mayHaveHappened: false })
      expect(yield* Effect.flip(Stream.runDrain(store.read(key)))).toMatchObject({ _tag: "Unavailable" })
      yield* startS3Server(server)
      expect(yield* store.sizeBytes(key)).toBe(bytes.length)
    })
  )

  it.live("that refuses the keys is unavailable and says by which code, without saying the keys", () =>
    Effect.gen(function* () {
      const { options } = yield* startS3Server()
      for (const wrong of [{ accessKey: Redacted.make("hunter2") }, { secretKey: Redacted.make("hunter2") }]) {
        const store = yield* storeAt({ ...options, ...wrong })
        const error = yield* Effect.flip(store.put(key, Stream.make(bytes)))
        expect(error).toMatchObject({ _tag: "Unavailable", reason: "refused" })
        expect(JSON.stringify(error)).toMatch(/object storage answered 403 \w+/)
        expect(JSON.stringify(error)).not.toContain("hunter2")
      }
    })
  )

  it.live("that dies in the middle of a read fails it, and in the middle of a write keeps nothing of it", () =>
    Effect.gen(function* () {
      const server = yield* startS3Server()
      const store = yield* storeAt(server.options)
      const large = Buffer.alloc(24 << 20, "large")
      const largeKey = sha256Of(large)
      const pieces = Stream.fromIterable([0, 8, 16].map((at) => large.subarray(at << 20, (at + 8) << 20)))
      const dying = Stream.tap(pieces, (piece) =>
        piece.byteOffset === large.byteOffset + (16 << 20) ? server.kill : Effect.void
      )
      expect(yield* Effect.flip(store.put(largeKey, dying))).toMatchObject({ _tag: "Unavailable" })
      const again = yield* startS3Server(server)
      expect(yield* Effect.flip(store.sizeBytes(largeKey))).toMatchObject({ _tag: "BlobNotFound" })
      yield* store.put(largeKey, pieces)
      let isKilled = false
      const reading = Stream.runForEach(store.read(largeKey), () => {
        if (isKilled) return Effect.void
        isKilled = true
        return again.kill
      })
      expect(yield* Effect.flip(reading)).toMatchObject({ _tag: "Unavailable", dependency: "object-storage" })
    })
  )

  it.live("without the bucket is unavailable, not empty", () =>
    Effect.gen(function* () {
      const { options } = yield* startS3Server()
      const store = yield* storeAt({ ...options, bucket: "elsewhere" })
      for (const refused of [
        store.put(key, Stream.make(bytes)),
        store.sizeBytes(key),
        Stream.runDrain(store.read(key))
      ]) {
        expect(yield* Effect.flip(refused)).toMatchObject({ _tag: "Unavailable", reason: "refused" })
      }
    })
  )
})

/** Answers each request by the next of these; whoever comes later gets the last. */
const scripted = (answers: ReadonlyArray<{ readonly status: number; readonly body?: string } | "never">) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const asked: Array<string> = []
      const server = createServer((request, response) => {
        const answer = answers[Math.min(asked.length, answers.length - 1)]
        asked.push(`${request.method} ${request.url}`)
        request.resume()
        if (answer === undefined || answer === "never") return
        response.writeHead(answer.status, { etag: '"e"' }).end(request.method === "HEAD" ? undefined : answer.body)
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const { port } = server.address() as AddressInfo
      return { server, asked, endpoint: `http://127.0.0.1:${port}` }
    }),
    ({ server }) =>
      Effect.promise(async () => {
        server.closeAllConnections()
        server.close()
      })
  )

const keys = { accessKey: Redacted.make("access"), secretKey: Redacted.make("secret") }
const place = { bucket: "holdfast", prefix: "", region: "us-east-1", ...keys }
const noMarks = { status: 200, body: "<ListBucketResult></ListBucketResult>" }

const begun = {
  status: 200,
  body: "<InitiateMultipartUploadResult><UploadId>u&amp;1</UploadId></InitiateMultipartUploadResult>"
}

describe("an answer of object storage", () => {
  it.live("that begins well and ends as an error is an error", () =>
    Effect.gen(function* () {
      const { asked, endpoint } = yield* scripted([
        noMarks,
        { status: 404 },
        noMarks,
        begun,
        { status: 200 },
        { status: 200 },
        { status: 200, body: "<Error><Code>InternalError</Code></Error>" },
        { status: 204 }
      ])
      const store = yield* storeAt({ ...place, endpoint })
      const content = new Uint8Array(9 << 20)
      const error = yield* Effect.flip(store.put(sha256Of(content), Stream.make(content)))
      expect(error).toMatchObject({ _tag: "Unavailable", detail: "object storage answered 500 InternalError" })
      expect(asked.at(-1)).toMatch(/^DELETE .*uploadId=u%261/)
    })
  )

  it.live("to a part is given back when the source of a large write fails", () =>
    Effect.gen(function* () {
      const { asked, endpoint } = yield* scripted([
        noMarks,
        { status: 404 },
        noMarks,
        begun,
        { status: 200 },
        { status: 204 }
      ])
      const store = yield* storeAt({ ...place, endpoint })
      const source = Stream.concat(Stream.make(new Uint8Array(9 << 20)), Stream.die("the source broke"))
      yield* Effect.exit(store.put(key, source))
      expect(asked.slice(3).map((line) => line.split(" ")[0])).toEqual(["POST", "PUT", "DELETE"])
      expect(asked.at(-1)).toMatch(/uploadId=u%261/)
    })
  )

  it.live("to a question for a list is followed page by page", () =>
    Effect.gen(function* () {
      const page = (name: string, more: string) => ({
        status: 200,
        body: `<ListBucketResult>${more}<Contents><Key>${name}</Key><LastModified>2026-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>`
      })
      const [first, second] = ["1", "2"].map((digit) => `ab/ab${digit.repeat(62)}`)
      const { asked, endpoint } = yield* scripted([
        page(
          first ?? "",
          "<IsTruncated>true</IsTruncated><NextContinuationToken>a+b/c&amp;d==</NextContinuationToken>"
        ),
        page(second ?? "", "<IsTruncated>false</IsTruncated>")
      ])
      const shelf = Context.get(
        yield* Layer.build(Layer.provide(layerReleased({ ...place, endpoint }), Health.layer)),
        Shelf
      )
      const pages = yield* Stream.runCollect(shelf.list("ab"))
      expect(pages.map((one) => one.map(({ sha256 }) => `ab/${sha256}`))).toEqual([[first], [second]])
      expect(new URL(asked[1]?.split(" ")[1] ?? "", "http://a").searchParams.get("continuation-token")).toBe(
        "a+b/c&d=="
      )
    })
  )

  it.live("that is the whole where a part was asked for is not taken for the part", () =>
    Effect.gen(function* () {
      const { endpoint } = yield* scripted([{ status: 200, body: "the whole" }])
      const store = yield* storeAt({ ...place, endpoint })
      const part = Stream.runCollect(store.read(key, { start: 4, end: 8 }))
      expect(yield* Effect.flip(part)).toMatchObject({ _tag: "Unavailable", reason: "refused" })
    })
  )

  it.live("that is a redirect leads nowhere", () =>
    Effect.gen(function* () {
      const { asked, endpoint } = yield* scripted([
        { status: 307, body: "<Error><Code>TemporaryRedirect</Code></Error>" }
      ])
      const store = yield* storeAt({ ...place, endpoint })
      const error = yield* Effect.flip(store.sizeBytes(key))
      expect(error).toMatchObject({ _tag: "Unavailable", detail: "object storage answered 307" })
      expect(asked).toHaveLength(1)
    })
  )

  it.live("that is an overload counts against it: the breaker opens, and then nothing is sent", () =>
    Effect.gen(function* () {
      const { asked, endpoint } = yield* scripted([{ status: 503, body: "<Error><Code>SlowDown</Code></Error>" }])
      const store = yield* storeAt({ ...place, endpoint })
      let reason = ""
      for (let count = 0; count < 100 && reason !== "breaker_open"; count++) {
        const error = yield* Effect.flip(store.sizeBytes(key))
        reason = error._tag === "Unavailable" ? error.reason : ""
      }
      expect(reason).toBe("breaker_open")
      expect(asked.length).toBeLessThan(100)
    })
  )

  it.effect("that never comes is waited for so long and no longer", () =>
    Effect.gen(function* () {
      const { endpoint } = yield* scripted(["never"])
      const store = yield* storeAt({ ...place, endpoint })
      const asking = yield* Effect.forkChild(Effect.flip(store.sizeBytes(key)), { startImmediately: true })
      yield* TestClock.adjust(ObjectStorage.operationDeadline)
      expect(yield* Fiber.join(asking)).toMatchObject({ _tag: "Unavailable", reason: "timeout" })
    })
  )
})
